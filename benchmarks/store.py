"""The store under attack and under the clock: kills, flipped bits, cold reads, lookups, loading.

`cartridges bench store` runs this and writes `docs/results/store.json`. The Redis is a real server of
our own. Ratios come from interleaved rounds of one run. This file knows the store; it knows no reader.
"""

import hashlib
import random
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.fuzzing import fuzzed
from benchmarks.service_kills import service_survived
from benchmarks.store_kills import survived
from benchmarks.store_roles import sample
from cartridge_store.blobs import Data, LocalBlobs
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.errors import CartridgeRefused
from cartridge_store.format import from_bytes, header_length, to_bytes
from cartridge_store.ids import blob_name
from cartridge_store.registry import Registry, connect
from cartridge_store.store import CartridgeStore
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import estimate

Report = Callable[[str, float], None]

_LARGE = (28, 8, 785, 128)  # 90 MB in bfloat16: 785 slots of an 8B-shaped reader with 8 kv heads


@dataclass(frozen=True, slots=True)
class StorePlan:
    """How much is tried."""

    rounds: int = 500  # of killing who works on the store
    service_rounds: int = 25  # of killing the whole service while documents are sent to it
    fuzz_seconds: float = 600.0
    positions: int = 200  # of a file, every bit of each
    cartridges: int = 10_000  # registered for the lookups
    lookups: int = 1_000
    loads: int = 15
    seed: int = 0
    shape: tuple[int, int, int, int] = _LARGE


def run_store(out: Path, plan: StorePlan, report: Report = lambda *_: None) -> dict[str, Any]:
    """Measure everything and write the result file."""
    began = begin()
    rng = random.Random(plan.seed)
    with tempfile.TemporaryDirectory(prefix="cartridges-store-") as temporary:
        folder = Path(temporary)
        report("flipped bits", 0.0)
        rows: list[dict[str, Any]] = [_flips(plan, rng)]
        with EmbeddedRedis(folder / "redis") as server:
            report("loading", 0.02)
            rows += _loads(plan, folder / "loads", server.url)
            report("one cold cartridge, 100 requests", 0.05)
            rows.append(_cold_reads(folder / "cold", server.url))
            report("lookups", 0.06)
            rows.append(_lookups(plan, server.url, rng))
        rows += [
            survived(
                folder / "kills", plan.rounds, plan.seed, lambda d: report("kills", 0.1 + 0.2 * d)
            ),
            service_survived(
                folder / "service",
                plan.service_rounds,
                plan.seed,
                lambda d: report("kills of the service", 0.3 + 0.2 * d),
            ),
            fuzzed(plan.fuzz_seconds, plan.seed, lambda d: report("fuzzing", 0.5 + 0.5 * d)),
        ]
    report("done", 1.0)
    found = {name: value for row in rows for name, value in row.items()}
    found["kill_rounds"] += found["service_kill_rounds"]
    found["kill_losses"] += found["service_kill_losses"]
    targets = {
        "kill_rounds": ">= 500",
        "kill_losses": "<= 0",
        "bitflips_tried": ">= 1600",
        "bitflips_accepted": "<= 0",
        "load_ratio_vs_read_hash": "<= 1.3",
        "fuzz_minutes": ">= 10",
        "fuzz_crashes": "<= 0",
        "cold_reads_for_100_requests": "<= 1",
        "registry_lookup_ms_median": "<= 1",
    }
    claims = {
        name: Claim(
            estimate(found[name] if isinstance(found[name], list) else [found[name]]), target
        )
        for name, target in targets.items()
    }
    return write_result(
        out,
        "store",
        command=f"cartridges bench store --rounds {plan.rounds} --json",
        seeds=(plan.seed,),
        rows=rows,
        claims=claims,
        began=began,
    )


def _flips(plan: StorePlan, rng: random.Random) -> dict[str, Any]:
    """Every bit of sampled bytes of the length, the header and the tensors, one at a time."""
    positions, accepted = 0, 0
    for int8 in (False, True):
        data = to_bytes(sample("flipped", seed=plan.seed, int8=int8))
        tried, taken = _flipped(data, plan.positions // 2, rng)
        positions += tried
        accepted += taken
    return {"bitflips_tried": 8 * positions, "bitflips_accepted": accepted}


def _flipped(data: bytes, count: int, rng: random.Random) -> tuple[int, int]:
    """How many positions of a file were tried, and how many flips were accepted."""
    length = header_length(data)
    third = count // 3
    positions = [
        *(rng.randrange(8) for _ in range(8)),
        *(rng.randrange(8, length) for _ in range(2 * third)),
        *(rng.randrange(length, len(data)) for _ in range(count - 2 * third - 8)),
    ]
    accepted = 0
    for position in positions:
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                from_bytes(changed)
                accepted += 1
            except CartridgeRefused:
                pass
    return len(positions), accepted


def _loads(plan: StorePlan, folder: Path, url: str) -> list[dict[str, Any]]:
    """Loading with every check against reading and hashing the same bytes, by turns."""
    blobs = LocalBlobs(folder)
    generator = torch.Generator().manual_seed(plan.seed)
    keys = torch.randn(plan.shape, generator=generator).to(torch.bfloat16)
    cartridge = replace(sample("large", tensors=(keys, keys.flip(0))))
    with connect(url) as client:
        registry = Registry(client, "bench-loads:")
        CartridgeStore(blobs, registry).publish(cartridge)
        path = folder / blob_name(cartridge.id)
        ratios = []
        for _ in range(plan.loads):
            began = time.perf_counter()
            hashlib.sha256(path.read_bytes()).digest()
            middle = time.perf_counter()
            CartridgeStore(blobs, registry).load(cartridge.id)  # one that holds nothing yet
            ratios.append((time.perf_counter() - middle) / (middle - began))
    return [
        {
            "megabytes": round(path.stat().st_size / 1e6, 1),
            "load_ratio_vs_read_hash": ratios,
            "load_ratio_median": median(ratios),
        }
    ]


class _Counting(LocalBlobs):
    """Counts whole reads, and makes them slow enough to be asked for meanwhile."""

    reads = 0

    def get(self, name: str, length: int | None = None) -> Data:
        if length is None:
            self.reads += 1
            time.sleep(0.05)
        return super().get(name, length)


def _cold_reads(folder: Path, url: str) -> dict[str, Any]:
    blobs = _Counting(folder)
    with connect(url) as client:
        store = CartridgeStore(blobs, Registry(client, "bench-cold:"))
        cartridge = sample("cold")
        store.publish(cartridge)
        blobs.reads = 0
        together = threading.Barrier(100)

        def load(_: int) -> str:
            together.wait()
            return store.load(cartridge.id).id

        with ThreadPoolExecutor(100) as threads:
            found = set(threads.map(load, range(100)))
    if found != {cartridge.id}:
        raise RuntimeError("A request got another cartridge.")
    return {"cold_reads_for_100_requests": blobs.reads}


def _lookups(plan: StorePlan, url: str, rng: random.Random) -> dict[str, Any]:
    """Locations of ten cartridges among thousands, a round trip each."""
    with connect(url) as client:
        registry = Registry(client, "bench-lookups:")
        first = sample("lookup").manifest
        ids = []
        for number in range(plan.cartridges):
            name = hashlib.sha256(str(number).encode()).hexdigest()[:40]
            manifest = replace(first, document_id=f"d{number}", cartridge_id=f"c{name}")
            registry.promote(manifest, expected=None)
            registry.beat("node", [("host", manifest.cartridge_id)], 60)
            ids.append(manifest.cartridge_id)
        times = []
        for _ in range(plan.lookups):
            chosen = rng.sample(ids, 10)
            began = time.perf_counter()
            found = registry.locations(chosen)
            times.append((time.perf_counter() - began) * 1e3)
            if not all(found.values()):
                raise RuntimeError("A location was lost.")
    return {
        "registered": plan.cartridges,
        "registry_lookup_ms_median": median(times),
        "registry_lookup_ms_p99": sorted(times)[int(0.99 * len(times))],
    }
