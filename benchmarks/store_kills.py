"""SIGKILL at random moments: all who work on the store, and Redis, under each other's load.

After every round of kills the store must hold what it said that it holds: each document at the version
that was last acknowledged or at a later one, deleted ones gone, every blob whole, and, once its grace is
over, no orphan; what was trained must be what a run that nobody stopped would have made. This file knows
the store; children are forked from a server that has imported their roles.
"""

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.store_roles import (
    NAMES,
    collect_forever,
    delete_forever,
    open_store,
    publish_forever,
    train_forever,
    trained,
)
from cartridge_store.blobs import LocalBlobs
from cartridge_store.cartridge import tensors_sha256
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import CartridgeNotFound, CartridgeRefused
from cartridge_store.store import CartridgeStore


def survived(
    folder: Path, rounds: int, seed: int, report: Callable[[float], None]
) -> dict[str, Any]:
    """Rounds of kills; losses are documents and blobs that were not as they must be.

    In a process of its own: children that are forked import its main module, which is this small one.
    """
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", __spec__.name, str(folder), str(rounds), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        found: dict[str, Any] = {}
        for line in process.stdout:
            said = json.loads(line)
            if isinstance(said, dict):
                found = said
            else:
                report(said)
    if process.returncode or not found:
        raise RuntimeError(f"The rounds of kills ended with {process.returncode}.")
    return found


def attack(
    folder: Path, rounds: int, rng: random.Random, report: Callable[[float], None]
) -> dict[str, Any]:
    """What `survived` runs."""
    losses: list[str] = []
    kills = redis_kills = published = deleted = runs = 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.store_roles"])
    server = EmbeddedRedis(folder / "redis")
    server.__enter__()
    try:
        known: dict[str, list[tuple[str, str | None]]] = {}
        for number in range(rounds):
            children: list[tuple[Any, Connection]] = []
            roles = (
                publish_forever,
                publish_forever,
                train_forever,
                delete_forever,
                collect_forever,
            )
            for role in roles:
                ours, theirs = context.Pipe(duplex=False)
                arguments = (str(folder / "blobs"), server.url, rng.getrandbits(40), theirs)
                process = context.Process(target=role, args=arguments, daemon=True)
                process.start()
                theirs.close()
                children.append((process, ours))
            for _, pipe in children:
                pipe.recv()
            time.sleep(rng.uniform(0.005, 0.12))
            events: list[tuple[Any, ...]] = []
            if not runs and number == rounds - 1:  # of few rounds: one must have trained to its end
                events += _until_trained(children[roles.index(train_forever)][1])
            with_redis = number % 10 == 9
            if with_redis:
                os.kill(server.pid or 0, signal.SIGKILL)
                redis_kills += 1
            rng.shuffle(children)
            for process, _ in children:
                process.kill()
                kills += 1
                time.sleep(rng.random() * 0.004)
            events += [event for process, pipe in children for event in _said(process, pipe)]
            if with_redis:
                server.__exit__(None, None, None)
                server = EmbeddedRedis(folder / "redis")
                server.__enter__()
            published += sum(event[0] == "published" for event in events)
            deleted += sum(event[0] == "deleted" for event in events)
            runs += sum(event[0] == "trained" for event in events)
            losses += _losses(folder, server.url, events, known, rebuild=with_redis)
            report((number + 1) / rounds)
    finally:
        server.__exit__(None, None, None)
    return {
        "kill_rounds": rounds,
        "kill_losses": len(losses),
        "kills": kills,
        "redis_kills": redis_kills,
        "published": published,
        "deleted": deleted,
        "trained": runs,
        "losses": losses[:20],
    }


def _until_trained(pipe: Connection) -> list[tuple[Any, ...]]:
    """What a trainer says until it has ended a run; less if it says nothing for a minute."""
    events: list[tuple[Any, ...]] = []
    with contextlib.suppress(EOFError):
        while pipe.poll(60.0):
            events.append(pipe.recv())
            if events[-1][0] == "trained":
                break
    return events


def _losses(
    folder: Path,
    url: str,
    events: list[tuple[Any, ...]],
    known: dict[str, list[tuple[str, str | None]]],
    *,
    rebuild: bool,
) -> list[str]:
    """What is not as it must be; `known` are the acknowledged versions of every document so far."""
    store = open_store(str(folder / "blobs"), url)
    if rebuild:
        store.rebuild()  # what a service does when it finds Redis emptied
    touched = {event[1] for event in events if event[0] in ("deleting", "deleted")}
    for event in events:
        if event[0] == "published":
            known.setdefault(event[1], []).append((event[2], event[3]))
    found = [f"{problem.name}: {problem.reason}" for problem in store.verify()]
    found += [
        f"run {event[1]} ended elsewhere than one that was not killed"
        for event in events
        if event[0] == "trained" and _trained_whole(folder / "reference", event[1]) != event[2]
    ]
    current = store.current("bench", NAMES)
    for document, began in _deleted(events).items():
        if document in current and store.describe(current[document]).manifest.created_at < began:
            found.append(f"{document} was deleted and is back")
    for document, versions in known.items():
        if document in touched:
            continue  # deleted, perhaps halfway, perhaps published again since
        if document not in current:
            found.append(f"{document} was published and is gone")
            continue
        if not _leads_to(store, current[document], versions):
            found.append(f"{document} went back behind what was acknowledged")
    for document in touched:
        known.pop(document, None)
        if document in current:
            known[document] = [(current[document], None)]
    for document, cartridge_id in current.items():
        try:
            store.describe(cartridge_id)  # its tensors were verified above
        except (CartridgeNotFound, CartridgeRefused) as error:
            found.append(f"{document} serves what cannot be served: {error}")
    return found + _orphans(folder, store)


def _trained_whole(folder: Path, number: int) -> str:
    """The digest of a run's tensors when nobody stops it."""
    digest = tensors_sha256(*trained(folder, number))
    shutil.rmtree(folder)
    return digest


def _deleted(events: list[tuple[Any, ...]]) -> dict[str, str]:
    """When the last completed deletion of each document began."""
    began: dict[str, str] = {}
    found: dict[str, str] = {}
    for event in events:
        if event[0] == "deleting":
            began[event[1]] = event[2]
        elif event[0] == "deleted":
            found[event[1]] = began[event[1]]
    return found


def _leads_to(store: CartridgeStore, current: str, versions: list[tuple[str, str | None]]) -> bool:
    """Whether the current version is the last that was acknowledged, or descends from it."""
    parents = dict(versions)
    last = _last(versions)
    here: str | None = current
    for _ in range(10_000):
        if here in last:
            return True
        if here is None:
            return False
        here = parents[here] if here in parents else store.describe(here).manifest.parent
    return False


def _last(versions: list[tuple[str, str | None]]) -> set[str]:
    """Acknowledged versions that no other acknowledged one replaced."""
    replaced = {parent for _, parent in versions}
    return {version for version, _ in versions if version not in replaced}


def _orphans(folder: Path, store: CartridgeStore) -> list[str]:
    """What is left when every grace is over and nobody is at work: nothing but current versions."""
    LocalBlobs(folder / "blobs", grace_seconds=0.0)
    store.collect(-1.0)
    store.collect(-1.0)  # what the first one finished has replaced another
    current = set(store.current("bench", NAMES).values())
    names = LocalBlobs(folder / "blobs").names()
    stored = {name.split(".")[0] for name in names if name.startswith("c")}
    hidden = [path.name for path in (folder / "blobs").iterdir() if path.name.startswith(".")]
    return [f"orphan {name}" for name in sorted(stored - current) + hidden]


def _said(process: Any, pipe: Connection) -> list[tuple[Any, ...]]:
    """What a child said until it died; its last message may be cut off."""
    process.join()
    events: list[tuple[Any, ...]] = []
    try:
        while pipe.poll():
            events.append(pipe.recv())
    except (EOFError, OSError):
        pass
    pipe.close()
    return events


if __name__ == "__main__":
    told = attack(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        random.Random(int(sys.argv[3])),
        lambda done: print(json.dumps(done), flush=True),
    )
    print(json.dumps(told), flush=True)
