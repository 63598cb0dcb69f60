"""`cartridges reproduce`: measure again what the documentation quotes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.cli.output import AsJson, CommandFailed
from app.settings import Settings

_EXPERIMENTS = ("gates", "reader")
_HANDWRITTEN = Path("tests/handwritten")  # of a checkout; left out where there is none


def reproduce(
    experiment: Annotated[str, typer.Argument(help="What to measure: gates or reader.")],
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    seeds: Annotated[int, typer.Option(min=1, max=20, help="How many seeds.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Run an experiment over several seeds and write its result file."""
    if experiment not in _EXPERIMENTS:
        raise CommandFailed(
            f"There is no experiment {experiment!r}; choose one of {', '.join(_EXPERIMENTS)}."
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(experiment, total=1.0)
        result = _run(
            experiment,
            out,
            seeds,
            lambda words, done: bars.update(task, description=words, completed=done),
        )
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    for name, claim in result["claims"].items():
        met = {True: "met", False: "missed", None: ""}[claim["met"]]
        target = f"(target {claim['target']}: {met})" if claim["target"] else ""
        typer.echo(f"{name}: {claim['value']} {claim['ci95'] or ''} {target}".rstrip())


def _run(
    experiment: str, out: Path, seeds: int, report: Callable[[str, float], None]
) -> dict[str, Any]:
    reader = Settings().reader
    if experiment == "gates":
        from evaluation.gates import GatesPlan, run_gates

        return run_gates(reader, out, GatesPlan(seeds=tuple(range(101, 101 + seeds))), report)
    from evaluation.reading import ReadingPlan, run_reading

    plan = ReadingPlan(
        seeds=tuple(range(201, 201 + seeds)),
        handwritten=_HANDWRITTEN if _HANDWRITTEN.is_dir() else None,
    )
    return run_reading(reader, out, plan, report)
