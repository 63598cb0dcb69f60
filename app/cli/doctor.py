"""`cartridges doctor`: is everything there, whole, and in agreement?"""

from typing import Annotated

import typer

from app.cli.output import AsJson, print_json
from app.settings import Settings


def doctor(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Restore Redis and the indexes from what is on disk.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check reader, Redis, cartridges and indexes; exit with 1 when something is wrong."""
    from app.checkup import examine

    findings = examine(Settings(), rebuild=rebuild)
    healthy = all(finding.ok for finding in findings)
    if as_json:
        checks = [
            {"name": finding.name, "ok": finding.ok, "detail": finding.detail}
            for finding in findings
        ]
        print_json({"healthy": healthy, "checks": checks})
    else:
        for finding in findings:
            typer.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}")
    if not healthy:
        raise typer.Exit(1)
