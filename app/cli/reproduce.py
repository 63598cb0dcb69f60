"""`cartridges reproduce`: measure again what the documentation quotes."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

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
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(experiment, total=1.0)
        result = run_gates(
            Settings().reader,
            out,
            plan,
            lambda words, done: bars.update(task, description=words, completed=done),
        )
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    for name, claim in result["claims"].items():
        met = {True: "met", False: "missed", None: ""}[claim["met"]]
        target = f"(target {claim['target']}: {met})" if claim["target"] else ""
        typer.echo(f"{name}: {claim['value']} {claim['ci95'] or ''} {target}".rstrip())
