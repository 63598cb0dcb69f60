"""Watching jobs from the command line: a bar each until they have ended. Knows jobs as the API has them."""

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from app.cli.client import Client

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_FOR_EACH = 0.15  # a key may ask ten times a second, and others may have the same
_FINISHED = {"succeeded", "failed", "cancelled"}

K = TypeVar("K", bound=Hashable)


def watched(
    client: Client,
    names: Mapping[K, str],
    jobs: Mapping[K, dict[str, Any]],
    *,
    shown: bool,
    ended: Callable[[K, dict[str, Any]], object] = lambda key, job: None,
) -> dict[K, dict[str, Any]]:
    """The jobs as they ended; `names` stand beside their bars. `ended` is told of each when it has."""
    with goes_on(), _bars(shown) as bars:
        tasks: dict[K, TaskID] = {
            key: bars.add_task(name, total=1.0) for key, name in names.items()
        }
        latest = dict(jobs)
        told: set[K] = set()
        while True:
            for key, job in latest.items():
                if job["status"] not in _FINISHED:
                    latest[key] = job = client.patient(f"/v1/jobs/{job['id']}")
                bars.update(
                    tasks[key],
                    completed=job["progress"],
                    description=f"{names[key]} ({stage_of(job)})",
                )
                if job["status"] in _FINISHED and key not in told:
                    told.add(key)
                    ended(key, job)
            left = sum(job["status"] not in _FINISHED for job in latest.values())
            if not left:
                return latest
            time.sleep(max(_SECONDS_BETWEEN_LOOKS, _SECONDS_FOR_EACH * left))


@contextlib.contextmanager
def goes_on() -> Iterator[None]:
    """Whoever stops watching is told what becomes of it."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "What was taken in stays; the service goes on with it, now or when it runs again.",
            err=True,
        )
        raise


def stage_of(job: Mapping[str, Any]) -> str:
    """What a job is at; of one that a worker gave back, why."""
    waits = job["status"] == "queued" and job["error"]
    return f"waits to try again: {job['error']}" if waits else str(job["stage"])


def outcome_of(job: Mapping[str, Any]) -> str:
    """What came of a document's training, in words."""
    result = job["result"] or {}
    if result.get("published"):
        return "ready"
    if result.get("quarantined"):
        return f"held back. {result['reason']}"
    if job["status"] == "succeeded":
        return f"answered from its text. {result.get('reason', '')}".strip()
    return job["error"] or str(job["status"])


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bars:
        yield bars
