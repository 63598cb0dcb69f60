"""A fleet beside one process: `cartridges bench fleet`, written to `docs/results/fleet.json`.

By default the reader is a small one of random weights with the bundled tokenizer: what becomes of tasks
does not depend on what it has learned. Its tasks are short, so that starting workers weighs much in the
speed-up; with `--reader` it is measured for another one.

The same collection of small documents is trained, checked and published twice, from nothing: by one
process with one thread, and by two Ray workers with one thread each, of which one is killed with
SIGKILL in the middle of the training and one in the middle of the publishing. Each arm has a data folder
and a Redis of its own. Two cartridges are one where their content-addressed ids are: tensors, text,
reader and recipe. This file knows arms and stores; it says nothing of what was learned.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from benchmarks.fleet_arm import COLLECTION
from benchmarks.service_process import environment_of_nobody
from cartridge_store.blobs import LocalBlobs
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.registry import Registry, connect
from cartridge_store.store import CartridgeStore
from evaluation.held_out import held_out
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import estimate
from inference.reader import load_reader
from reader.paths import bundled_reader
from retrieval.documents import DocumentLibrary
from training.settings import TrainingSettings

Report = Callable[[str, float], None]

_PREFIX = "bench-fleet:"
_KILLED = 2  # workers, with kill -9
# Questions and answers of a few tokens, which end nowhere, and a handful of steps: what is measured is who
# trains and publishes what, and so short a training passes no check.
_SHORT = TrainingSettings(
    min_slots=4,
    window_max=40,
    conversations_per_token=0.01,
    min_conversations=8,
    rounds=1,
    held_out=2,
    asking_temperature=1.5,
    max_question=8,
    max_answer=3,
    generation_batch=32,
    batch=8,
    min_steps=2,
    max_steps=2,
    warm_up=2,
    distractors=4,
    beside=2,
    accept_at=0.0,
)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """How large the collection is, and how it is trained."""

    documents: int = 200
    tokens: tuple[int, int] = (40, 80)
    group: int = 20
    workers: int = 2
    seed: int = 0
    settings: TrainingSettings = field(default_factory=lambda: _SHORT)


def run_fleet(
    reader: str | None, out: Path, plan: FleetPlan, report: Report = lambda *_: None
) -> dict[str, Any]:
    """Run both arms and write the result file. Raises RuntimeError when an arm fails.

    `reader` is the path of a reader; None for a small random one.
    """
    began = begin()
    rows: list[dict[str, Any]] = []
    ids: list[dict[str, str]] = []
    small = reader is None
    command = f"cartridges bench fleet --documents {plan.documents} --json"
    command += f" --reader {reader}" if reader else ""
    with tempfile.TemporaryDirectory(prefix="cartridges-fleet-") as temporary:
        reader = reader or str(_random_reader(Path(temporary) / "reader", plan.seed))
        for number, (name, workers) in enumerate((("in_process", 0), ("ray", plan.workers))):
            report(name, number / 2)
            data = Path(temporary) / name
            _write_documents(reader, data, plan)

            def told(done: float, name: str = name, number: int = number) -> None:
                report(name, (number + done) / 2)

            with EmbeddedRedis(data / "redis") as server:
                row = _arm(reader, data, server.url, workers, plan, told)
                current, versions = published(data, server.url)
            ids.append(current)
            more = sum(count > 1 for count in versions.values())
            rows.append(
                {
                    "arm": name,
                    "workers": workers,
                    "threads": 1,
                    "reader": "random" if small else reader,
                }
                | row
            )
            rows[-1] |= {"documents": len(current), "published_more_than_once": more}
    here, there = rows
    if there["killed_workers"] < _KILLED:  # or the claims would be of a fleet that nothing befell
        raise RuntimeError(
            f"{there['killed_workers']} of {_KILLED} workers were killed: the training was over before, "
            "or its files have other names than benchmarks/fleet_arm.py looks for."
        )
    names = ids[0].keys() | ids[1].keys()
    differing = sum(ids[0].get(name) != ids[1].get(name) for name in names)
    report("done", 1.0)
    claims = {
        "documents": (there["documents"], f">= {plan.documents}"),
        "published_more_than_once": (there["published_more_than_once"], "<= 0"),
        "differing_cartridges": (differing, "<= 0"),
        "speedup_2_workers": (here["seconds"] / there["seconds"], None),
    }
    return write_result(
        out,
        "fleet",
        command=command,
        seeds=(plan.seed,),
        rows=rows,
        claims={name: Claim(estimate([value]), target) for name, (value, target) in claims.items()},
        began=began,
    )


def _random_reader(folder: Path, seed: int) -> Path:
    """A reader of two layers and random weights, written to a folder."""
    tokenizer = AutoTokenizer.from_pretrained(bundled_reader())
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = Qwen3ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _write_documents(reader: str, data: Path, plan: FleetPlan) -> None:
    count = load_reader(reader, device="cpu").count
    drawn = held_out(
        plan.seed, sheets=plan.documents, questions=1, count=count, tokens=plan.tokens, alike=0.3
    )
    library = DocumentLibrary(data / "documents")
    for number, sheet in enumerate(drawn.sheets):
        library.put(COLLECTION, f"doc-{number:04d}", sheet.title, sheet.text)


def _arm(
    reader: str,
    data: Path,
    url: str,
    workers: int,
    plan: FleetPlan,
    told: Callable[[float], None],
) -> dict[str, Any]:
    """One arm in a process of its own, with the service's variables."""
    path = data / "plan.json"
    described: dict[str, Any] = {
        "reader": str(Path(reader).resolve()) if Path(reader).exists() else reader,
        "data": str(data),
        "workers": workers,
        "kill": workers > 0,
        "group": plan.group,
        "settings": asdict(plan.settings) | {"seed": plan.seed},
    }
    path.write_text(json.dumps(described), encoding="utf-8")
    variables = {
        "CARTRIDGES_DATA": str(data),
        "CARTRIDGES_READER": described["reader"],
        "CARTRIDGES_DEVICE": "cpu",
        "CARTRIDGES_DTYPE": "float32",
        "CARTRIDGES_REDIS_URL": url,
        "CARTRIDGES_REDIS_PREFIX": _PREFIX,
        "OMP_NUM_THREADS": "1",
    }
    log = data / "arm.log"
    with (
        log.open("w+", encoding="utf-8") as said,
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "benchmarks.fleet_arm", str(path)],
            env=environment_of_nobody() | variables,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(1.0)
                told(_last_progress(log))
        finally:
            process.terminate()  # with the workers that it started; nothing where it has ended
        assert process.stdout is not None
        lines = process.stdout.read().strip().splitlines()
    if process.returncode or not lines:
        raise RuntimeError(f"The arm failed: {log.read_text('utf-8')[-2_000:]}")
    row: dict[str, Any] = json.loads(lines[-1])
    return row


def _last_progress(log: Path) -> float:
    for line in reversed(log.read_text(encoding="utf-8").splitlines()):
        if line.startswith('{"stage"') and line.endswith("}"):
            return float(json.loads(line)["done"])
    return 0.0


def published(
    data: Path, url: str, collection: str = COLLECTION
) -> tuple[dict[str, str], dict[str, int]]:
    """Each document's current cartridge, and how many versions of it were promoted or stored."""
    blobs = LocalBlobs(data / "cartridges")
    with connect(url) as client:
        # The service's own prefix for what it registers.
        registry = Registry(client, f"{_PREFIX}registry:")
        store = CartridgeStore(blobs, registry)
        names = [f"{document}" for _, document in sorted(store.documents())]
        current = store.current(collection, names)
        promoted = {name: registry.versions(collection, name) for name in names}
        stored: dict[str, set[str]] = {name: set() for name in names}
        for blob in blobs.names():
            if blob.endswith(".safetensors"):
                cartridge = blob.removesuffix(".safetensors")
                stored[store.describe(cartridge).manifest.document_id].add(cartridge)
        store.close()
    return current, {name: len(promoted[name] | stored[name]) for name in names}
