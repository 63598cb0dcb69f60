"""Jobs of a running service, and what came of them, remembered on disk: done once, whatever stops between.

Knows HTTP and a file; knows no experiment.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from evaluation.datasets.questions import Document
from evaluation.results import Began, made_by, together

_OVER = {"failed", "cancelled"}
_MADE = "made by"  # the ledger's own entry


class Ledger:
    """Which job does what, by a name that the experiment gives, and by what program it was kept."""

    def __init__(self, path: Path, began: Began) -> None:
        self._path, self._began = path, began
        self._lock = threading.Lock()

    def job(self, name: str) -> str | None:
        """The job's id, or None before it was sent."""
        found = self._read().get(name)
        return None if found is None else str(found)

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `measure` says, which is asked once."""
        found: dict[str, Any] | None = self._read().get(name)
        if found is None:
            found = measure()
            self.keep(name, found)
        return found

    def keep(self, name: str, value: str | dict[str, Any]) -> None:
        """Remember the job that does it, or what came of it."""
        with self._lock:  # several wait at once
            known = self._read()
            made = known.get(_MADE, {}) | {name: made_by(self._began)}
            aside = self._path.with_suffix(".tmp")
            aside.write_text(json.dumps(known | {name: value, _MADE: made}, indent=1), "utf-8")
            aside.replace(self._path)

    def made(self) -> dict[str, Any]:
        """Commits, dates and machine of all that was kept: it may have been by several programs."""
        known = self._read()
        made = known.pop(_MADE, {})
        unknown = made_by(self._began) | {"commit": "unknown", "date": "unknown"}
        return together([made.get(name, unknown) for name in known])

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return found


def finished(
    client: httpx.Client,
    ledger: Ledger,
    name: str,
    send: Callable[[], dict[str, Any]],
    report: Callable[[str, float], None],
    *,
    seconds: float = 1.0,
) -> dict[str, Any]:
    """The job that does `name`, at its end; sent unless it was, or unless what was sent came to nothing.

    `seconds` are between two looks. Raises RuntimeError when it fails, with the job's own words.
    """
    id = ledger.job(name)
    job = None if id is None else _job(client, id)
    if job is None or job["status"] in _OVER:
        job = send()["job"]
        ledger.keep(name, job["id"])
    return waited(client, job, name, report, seconds=seconds)


def waited(
    client: httpx.Client,
    job: dict[str, Any],
    name: str,
    report: Callable[[str, float], None],
    *,
    seconds: float = 1.0,
) -> dict[str, Any]:
    """A job at its end; raises as `finished` does."""
    while job["status"] != "succeeded":
        if job["status"] in _OVER:
            raise RuntimeError(f"{name}: the job was {job['status']}. {job['error'] or ''}")
        report(job["stage"], job["progress"])
        time.sleep(seconds)
        found = _job(client, job["id"])
        if found is None:
            raise RuntimeError(f"{name}: the job is gone; run the command again.")
        job = found
    return job


def ended(job: dict[str, Any]) -> bool:
    """Whether nothing more will come of a job."""
    return job["status"] in {"succeeded", *_OVER}


def ingested(client: httpx.Client, collection: str, documents: Sequence[Document]) -> None:
    """Send what is not there yet; each document's own training is cancelled, for its collection's."""
    for document in documents:
        path = f"/v1/documents/{document.id}"
        known = client.get(path, params={"collection": collection})
        if known.status_code == 200:
            _cancel(client, known.json()["job"])  # of a run that stopped between the two requests
            continue
        _cancel(client, sent(client, collection, document))


def sent(client: httpx.Client, collection: str, document: Document) -> str:
    """Send a document, or a version of it: the id of its job."""
    body = {
        "collection": collection,
        "id": document.id,
        "title": document.title,
        "text": document.text,
    }
    return str(client.post("/v1/documents", json=body).raise_for_status().json()["job"]["id"])


def _cancel(client: httpx.Client, id: str | None) -> None:
    job = None if id is None else _job(client, id)
    if job is not None and job["kind"] == "train" and job["status"] in ("queued", "running"):
        client.delete(f"/v1/jobs/{id}").raise_for_status()


def _job(client: httpx.Client, id: str) -> dict[str, Any] | None:
    response = client.get(f"/v1/jobs/{id}")
    if response.status_code == 404:
        return None
    return dict(response.raise_for_status().json())
