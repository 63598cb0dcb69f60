"""`cartridges reproduce`: measure again what the documentation quotes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.measuring import print_claims, progress_bar
from app.cli.output import AsJson, CommandFailed
from app.settings import Settings

_EXPERIMENTS = ("gates",)


def reproduce(
    experiment: Annotated[str, typer.Argument(help="What to measure: gates.")],
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    seeds: Annotated[int, typer.Option(min=1, max=20, help="How many seeds.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Run an experiment over several seeds and write its result file."""
    if experiment not in _EXPERIMENTS:
        raise CommandFailed(
            f"There is no experiment {experiment!r}; choose one of {', '.join(_EXPERIMENTS)}."
        )
    from evaluation.gates import GatesPlan, run_gates

    plan = GatesPlan(seeds=tuple(range(101, 101 + seeds)))
    with progress_bar(experiment) as progress:
        result = run_gates(Settings().reader, out, plan, progress)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    print_claims(result)
