"""`cartridges verify`: every stored cartridge read whole, and what nobody needs deleted when asked."""

from typing import Annotated

import typer

from app.cli.output import AsJson, print_json
from app.settings import Settings


def verify(
    collect: Annotated[
        bool, typer.Option("--collect", help="Delete what was replaced or removed, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every cartridge and check it against its checksums; exit with 1 when one is not whole."""
    from app.storage import open_store, redis_at_hand

    with redis_at_hand(Settings()) as settings, open_store(settings) as store:
        collected = store.collect(settings.grace_seconds) if collect else []
        whole, problems = store.inspect()
    if as_json:
        found = [{"name": problem.name, "reason": problem.reason} for problem in problems]
        print_json({"whole": whole, "problems": found, "collected": collected})
    else:
        for problem in problems:
            typer.echo(f"FAIL {problem.name}: {problem.reason}")
        typer.echo(f"{whole} cartridges are whole." + f" {len(collected)} deleted." * collect)
    if problems:
        raise typer.Exit(1)
