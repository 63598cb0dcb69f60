"""The service under load: many clients who ask, stream, go away, send documents and delete them.

`cartridges bench load` runs this against the real service in a process of its own and writes
`docs/results/load.json`. Then Redis is stopped for twenty seconds and the worker killed, under the same
load. This file knows HTTP; it knows nothing of the service's inside.
"""

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.service_process import QUICK, children, resident_bytes, serving
from benchmarks.waiting import ended
from evaluation.held_out import held_out
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import estimate

Report = Callable[[str, float], None]

# Quick and published whatever they say: this measures the service, not its answers.
_TRAINING = QUICK | {"accept_at": 0.0}
_KEPT = 8  # documents that stay and are asked about
_SAMPLE_SECONDS = 5.0
_TIMEOUT = httpx.Timeout(180.0)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How many, how long. Shares are of a client's next action; the rest are plain questions."""

    clients: int = 64
    minutes: float = 10.0
    trouble_seconds: float = 60.0
    stopped_seconds: float = 20.0  # of these Redis does not answer
    streams: float = 0.2
    abandoned: float = 0.17
    sent: float = 0.04
    deleted: float = 0.04
    seed: int = 0


@dataclass
class _Tally:
    """What came back, in one phase."""

    statuses: Counter[str] = field(default_factory=Counter)  # "action status"
    first_token_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    def errors(self, least: int = 500) -> int:
        """Answers of this status or above, and streams that broke off."""
        bad = sum(n for key, n in self.statuses.items() if int(key.split()[1]) >= least)
        return bad + len(self.broken)


@dataclass
class _World:
    """What the clients share: documents that are asked about, and what they sent themselves."""

    questions: list[str]
    rng: random.Random
    mine: dict[str, str] = field(default_factory=dict)  # accepted and not deleted: id, text
    number: int = 0


def run_load(out: Path, plan: LoadPlan, report: Report = lambda *_: None) -> dict[str, Any]:
    """Load the service, then trouble it, and write the result file."""
    began = begin()
    with (
        tempfile.TemporaryDirectory(prefix="cartridges-load-") as folder,
        serving(Path(folder) / "data", _TRAINING) as (url, process),
    ):
        rows = asyncio.run(_measured(url, process.pid, plan, report))
    found = rows[0]
    report("done", 1.0)
    claims = {
        "clients": Claim(estimate([plan.clients]), ">= 64"),
        "minutes": Claim(estimate([found["minutes"]]), ">= 10"),
        "requests": Claim(estimate([found["requests"]]), ">= 1"),
        "server_errors": Claim(estimate([found["server_errors"]]), "<= 0"),
        "leaked_pins": Claim(estimate([found["leaked_pins"]]), "<= 0"),
        "memory_growth_ratio": Claim(estimate([found["memory_growth_ratio"]]), "<= 1.1"),
        "p99_first_token_ms": Claim(estimate([found["p99_first_token_ms"]])),
        "lost_in_trouble": Claim(estimate([rows[1]["lost"]]), "<= 0"),
    }
    return write_result(
        out,
        "load",
        command=f"cartridges bench load --clients {plan.clients} --minutes {plan.minutes:g} --json",
        seeds=(plan.seed,),
        rows=rows,
        claims=claims,
        began=began,
    )


async def _measured(url: str, pid: int, plan: LoadPlan, report: Report) -> list[dict[str, Any]]:
    limits = httpx.Limits(max_connections=plan.clients + 8, max_keepalive_connections=plan.clients)
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=limits) as http:
        report("documents", 0.0)
        world = await _prepared(http, plan)
        seconds = plan.minutes * 60
        tally = _Tally()
        began = time.monotonic()
        await _phase(http, pid, plan, world, tally, seconds, lambda d: report("load", 0.85 * d))
        elapsed = time.monotonic() - began
        pinned = await _pinned(http)
        load = _row(tally, elapsed) | {
            "clients": plan.clients,
            "leaked_pins": pinned,
            "memory_growth_ratio": _growth(tally.memory, elapsed),
        }
        report("trouble", 0.85)
        trouble = _Tally()
        async with asyncio.TaskGroup() as group:
            group.create_task(_troubled(pid, plan))
            group.create_task(
                _phase(http, pid, plan, world, trouble, plan.trouble_seconds, lambda _: None)
            )
        return [load, _row(trouble, plan.trouble_seconds) | await _after(http, world)]


async def _prepared(http: httpx.AsyncClient, plan: LoadPlan) -> _World:
    """Documents with cartridges, and questions to them."""
    drawn = held_out(plan.seed + 1, sheets=_KEPT, questions=12, count=lambda text: len(text) // 4)
    for number, sheet in enumerate(drawn.sheets):
        sent = await http.post("/v1/documents", json={"id": f"kept-{number}", "text": sheet.text})
        sent.raise_for_status()
        job = sent.json()["job"]
        while not ended(job):
            await asyncio.sleep(0.2)
            job = (await http.get(f"/v1/jobs/{job['id']}")).raise_for_status().json()
        if job["status"] != "succeeded":
            raise RuntimeError(f"The load's documents: a job was {job['status']}. {job['error']}")
    return _World([item.question for item in drawn.items], random.Random(plan.seed))


async def _phase(
    http: httpx.AsyncClient,
    pid: int,
    plan: LoadPlan,
    world: _World,
    tally: _Tally,
    seconds: float,
    report: Callable[[float], None],
) -> None:
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(plan.clients):
            group.create_task(_client(http, plan, world, tally, began + seconds))
        while (spent := time.monotonic() - began) < seconds:
            tally.memory.append((spent, resident_bytes(pid)))
            report(spent / seconds)
            await asyncio.sleep(min(_SAMPLE_SECONDS, seconds / 10))


async def _client(
    http: httpx.AsyncClient, plan: LoadPlan, world: _World, tally: _Tally, until: float
) -> None:
    while time.monotonic() < until:
        dice = world.rng.random()
        try:
            if dice < plan.sent:
                await _send(http, world, tally)
            elif dice < plan.sent + plan.deleted:
                await _delete(http, world, tally)
            elif dice < plan.sent + plan.deleted + plan.streams + plan.abandoned:
                gone = dice >= plan.sent + plan.deleted + plan.streams
                await _stream(http, world, tally, abandon=gone)
            else:
                await _ask(http, world, tally)
        except httpx.HTTPError as error:
            tally.broken.append(f"{type(error).__name__}: {error}"[:200])


async def _ask(http: httpx.AsyncClient, world: _World, tally: _Tally) -> None:
    began = time.perf_counter()
    body = {"question": world.rng.choice(world.questions), "max_tokens": 24}
    answer = await http.post("/v1/answers", json=body)
    tally.statuses[f"ask {answer.status_code}"] += 1
    tally.total_ms.append((time.perf_counter() - began) * 1e3)


async def _stream(http: httpx.AsyncClient, world: _World, tally: _Tally, *, abandon: bool) -> None:
    """Read a stream to its end, or go away after its first token."""
    began = time.perf_counter()
    body = {"question": world.rng.choice(world.questions), "max_tokens": 24, "stream": True}
    async with http.stream("POST", "/v1/answers", json=body) as answer:
        tally.statuses[f"{'abandon' if abandon else 'stream'} {answer.status_code}"] += 1
        ended = answer.status_code != 200
        async with contextlib.aclosing(_events(answer)) as events:
            async for name in events:
                if name == "token":
                    tally.first_token_ms.append((time.perf_counter() - began) * 1e3)
                    if abandon:
                        return
                    break
            async for name in events:
                if name == "error":
                    break
                ended = ended or name == "done"
        if not ended:
            tally.broken.append("A stream ended without its last event.")


async def _events(answer: httpx.Response) -> AsyncGenerator[str]:
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            yield line.removeprefix("event: ")


async def _send(http: httpx.AsyncClient, world: _World, tally: _Tally) -> None:
    world.number += 1
    id = f"sent-{world.number}"
    text = f"# Sheet {id}\n\nThe valve of sheet {id} is green. It was fitted in 19{world.number % 90 + 10}."
    sent = await http.post("/v1/documents", json={"id": id, "text": text})
    tally.statuses[f"send {sent.status_code}"] += 1
    if sent.status_code == 202:
        world.mine[id] = text


async def _delete(http: httpx.AsyncClient, world: _World, tally: _Tally) -> None:
    if not world.mine:
        return
    id = world.rng.choice(sorted(world.mine))
    text = world.mine.pop(id)  # nobody else deletes it
    gone = await http.delete(f"/v1/documents/{id}")
    tally.statuses[f"delete {gone.status_code}"] += 1
    if gone.status_code != 204:
        world.mine[id] = text


async def _troubled(pid: int, plan: LoadPlan) -> None:
    """Redis stops for a while, and the worker is killed."""
    await asyncio.sleep(plan.trouble_seconds / 6)
    server = [child for child, command in children(pid) if "redis" in command]
    workers = [child for child, command in children(pid) if "worker" in command]
    if not server or not workers:
        raise RuntimeError("The service has no Redis or no worker of its own to be troubled.")
    for child in server:
        os.kill(child, signal.SIGSTOP)
    try:
        for child in workers:
            os.kill(child, signal.SIGKILL)
        await asyncio.sleep(plan.stopped_seconds)
    finally:
        for child in server:
            os.kill(child, signal.SIGCONT)


async def _after(http: httpx.AsyncClient, world: _World) -> dict[str, Any]:
    """Whether everything that was accepted is there, and how long the service takes to be ready."""
    began = time.monotonic()
    while (await http.get("/health/ready")).status_code != 200:
        if time.monotonic() - began > 60:
            break
        await asyncio.sleep(0.1)
    ready = round(time.monotonic() - began, 2)
    missing = [
        id
        for id in sorted(world.mine)
        if (await http.get(f"/v1/documents/{id}")).status_code != 200
    ]
    return {"lost": len(missing), "accepted": len(world.mine), "ready_after_seconds": ready}


async def _pinned(http: httpx.AsyncClient) -> int:
    """Bytes that the engine's pool still has pinned when nobody asks any more."""
    for _ in range(100):
        text = (await http.get("/metrics")).text
        (line,) = [
            each
            for each in text.splitlines()
            if each.startswith('cartridges_pool_bytes{use="pinned"')
        ]
        if not (pinned := int(float(line.split()[1]))):
            return 0
        await asyncio.sleep(0.3)  # abandoned answers end at their next token
    return pinned


def _growth(memory: list[tuple[float, int]], seconds: float) -> float:
    """Median memory of the last minute (or sixth) over that of the second."""
    part = min(60.0, seconds / 6)
    early = [size for at, size in memory if part <= at < 2 * part]
    late = [size for at, size in memory if at >= seconds - part]
    if not early or not late:
        raise RuntimeError("Memory was not looked at often enough to say whether it grows.")
    return round(median(late) / median(early), 4)


def _row(tally: _Tally, seconds: float) -> dict[str, Any]:
    first = sorted(tally.first_token_ms) or [0.0]
    total = sorted(tally.total_ms) or [0.0]
    sizes = [size for _, size in tally.memory]
    return {
        "minutes": round(seconds / 60, 2),
        "requests": tally.requests,
        "requests_per_second": round(tally.requests / seconds, 1),
        "server_errors": tally.errors(),
        "broken": tally.broken[:5],
        "statuses": dict(sorted(tally.statuses.items())),
        "p50_first_token_ms": round(median(first), 1),
        "p99_first_token_ms": round(first[int(0.99 * (len(first) - 1))], 1),
        "p50_answer_ms": round(median(total), 1),
        "p99_answer_ms": round(total[int(0.99 * (len(total) - 1))], 1),
        "memory_megabytes": [round(min(sizes) / 1e6, 1), round(max(sizes) / 1e6, 1)],
    }
