"""What commands that measure share: a progress bar on stderr, and claims as lines."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[str, float], None]]:
    """A bar; the function it gives takes what is being done and the share that is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with _ended_gently(), Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=1.0)
        yield lambda words, done: bars.update(task, description=words, completed=done)


@contextmanager
def _ended_gently() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does: what it has started ends with it."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def print_result(result: dict[str, Any], *, as_json: bool) -> None:
    """A result file whole as JSON, or its claims, one a line."""
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    for name, claim in result["claims"].items():
        met = {True: "met", False: "missed", None: ""}[claim["met"]]
        target = f"(target {claim['target']}: {met})" if claim["target"] else ""
        typer.echo(f"{name}: {claim['value']} {claim['ci95'] or ''} {target}".rstrip())
