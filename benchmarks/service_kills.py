"""SIGKILL of the whole service, at random moments, while documents are sent to it.

What was answered with 202 must be there when it is started again: its text, its place in the index and its
job. The service is a process of its own, spoken to over HTTP; this file knows nothing of its inside.
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.service_process import QUICK, children, serving

_SENDERS = 4


@dataclass
class _Sent:
    """Documents that were accepted, and what a sender may not have heard of any more."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    accepted: dict[str, str] = field(default_factory=dict)  # document id: text
    deleted: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)  # a deletion of it was under way


def service_survived(
    folder: Path, rounds: int, seed: int, report: Callable[[float], None]
) -> dict[str, Any]:
    """Rounds of kills of API, worker and, in every fifth, Redis."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{seed}/service")
    sent = _Sent()
    losses: list[str] = []
    redis_kills = 0
    for number in range(rounds):
        with serving(folder / "data", QUICK) as (url, process):
            losses += _missing(url, sent)
            ending = threading.Event()
            senders = [
                threading.Thread(target=_send, args=(url, sent, f"{number}-{index}", ending))
                for index in range(_SENDERS)
            ]
            for sender in senders:
                sender.start()
            if not number:
                _accepted(sent)  # or a few rounds might have tried nothing
            time.sleep(rng.uniform(0.05, 1.5))
            with_redis = number % 5 == 4
            redis_kills += with_redis
            _kill(process, folder, with_redis=with_redis)
            ending.set()
            for sender in senders:
                sender.join()
        report((number + 1) / (rounds + 1))
    with serving(folder / "data", QUICK) as (url, _):
        losses += _missing(url, sent)
    return {
        "service_kill_rounds": rounds,
        "service_kill_losses": len(losses),
        "service_redis_kills": redis_kills,
        "service_documents": len(sent.accepted),
        "service_deleted": len(sent.deleted),
        "service_losses": losses[:20],
    }


def _accepted(sent: _Sent) -> None:
    """Return when a document was accepted. Raises RuntimeError where none is within two minutes."""
    deadline = time.monotonic() + 120
    while not sent.accepted:
        if time.monotonic() > deadline:
            raise RuntimeError("The service accepted no document; read its log.")
        time.sleep(0.01)


def _kill(process: "subprocess.Popen[str]", folder: Path, *, with_redis: bool) -> None:
    """The API, and its children at the same time: nobody is to say good-bye."""
    theirs = children(process.pid)
    process.kill()
    for pid, command in theirs:
        if with_redis or "redis" not in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _send(url: str, sent: _Sent, name: str, ending: threading.Event) -> None:
    """Send documents, and delete some again, until the service is gone."""
    with httpx.Client(base_url=url, timeout=30) as client:
        number = 0
        while not ending.is_set():
            id = f"doc-{name}-{number}"
            text = f"# Sheet {name} {number}\n\nThe valve of sheet {name} number {number} is green."
            number += 1
            try:
                answer = client.post("/v1/documents", json={"id": id, "text": text})
                if answer.status_code == 202:
                    with sent.lock:
                        sent.accepted[id] = text
                if number % 4 == 0:
                    with sent.lock:
                        sent.doubtful.add(id)
                    if client.delete(f"/v1/documents/{id}").status_code == 204:
                        with sent.lock:
                            sent.deleted.add(id)
            except httpx.HTTPError:
                return  # it is dead; what was under way was not accepted


def _missing(url: str, sent: _Sent) -> list[str]:
    """What was accepted and is not there, or was deleted and is."""
    losses = []
    with httpx.Client(base_url=url, timeout=60) as client:
        # Search first: sending a document again would index it.
        kept = [id for id in sent.accepted if id not in sent.deleted | sent.doubtful]
        for id in kept[-3:]:  # the latest are those whose index may not have been written
            question = f"What colour is the valve of sheet {id.removeprefix('doc-')}?"
            answer = client.post(
                "/v1/answers", json={"question": question, "documents": [id], "mode": "rag"}
            )
            if id not in [source["document_id"] for source in answer.json().get("sources", [])]:
                losses.append(f"{id} was accepted and is not searchable")
        for id, text in sent.accepted.items():
            answer = client.get(f"/v1/documents/{id}")
            if id in sent.deleted:
                if answer.status_code != 404:
                    losses.append(f"{id} was deleted and is back")
                continue
            if id in sent.doubtful and answer.status_code == 404:
                sent.deleted.add(id)
                continue
            if answer.status_code != 200:
                losses.append(f"{id} was accepted and is gone ({answer.status_code})")
                continue
            if client.get(f"/v1/jobs/{answer.json()['job']}").status_code != 200:
                losses.append(f"{id} was accepted and has no job")
            again = client.post("/v1/documents", json={"id": id, "text": text})
            if again.status_code != 202 or again.json()["document"]["version"] != 1:
                losses.append(f"{id} is not the text that was sent")
    return losses
