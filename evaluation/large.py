"""A collection of a million tokens through a pool of twenty: what memory it takes, and being killed.

Every training is a process of its own (`python -m evaluation.large`), so that its peak memory is the
trainer's alone and SIGKILL is real. How much is learned is no question here: few steps show that
memory does not follow the collection, and that a run killed twice ends with the very cartridges of one
that was not. What is done lies in a working folder and is not done again. This file knows no service.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.exam import exam
from evaluation.memory import peak_bytes
from inference.reader import Reader, load_reader
from reader.collection import SINGLE, CollectionPlan, draw_collection
from reader.paths import word_list
from reader.tokenizer import dictionary
from training.examples import read_examples
from training.joint import JointSettings, JointTraining, Member
from training.mixing import Mixing
from training.naming import short_digest
from training.pipeline import first_slots
from training.settings import TrainingSettings
from training.studying import kept_study

Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class LargePlan:
    """How large, and how little is learned of it; `sizes` are those whose memory is measured."""

    sizes: tuple[int, ...] = (50, 200, 400)
    facts: int = 140  # a document; about eighteen tokens each
    conversations: int = 32  # a document
    compression: float = 20.0
    distractors: int = 3
    pool: int = 20
    steps: int = 300
    kills: tuple[float, ...] = (0.35, 0.7)  # shares of the steps after which SIGKILL comes
    seed: int = 401
    threads: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON reads it back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def documents(self) -> int:
        """Documents of the whole collection."""
        return max(self.sizes)

    @property
    def training(self) -> TrainingSettings:
        """Study and slots of a document."""
        return TrainingSettings(
            seed=self.seed,
            compression=self.compression,
            min_conversations=self.conversations,
            conversations_per_token=0.0001,
            held_out=0,
            accept_at=0.0,
            rounds=1,
        )


def run_large(
    reader_path: str | Path, plan: LargePlan, folder: Path, report: Report = lambda *_: None
) -> dict[str, Any]:
    """What was measured: documents, tokens, peak bytes by size, whether the killed run is identical."""
    reader = load_reader(reader_path)
    recipe = [plan.training.to_dict(), asdict(JointSettings(steps=1)), exam(reader.fingerprint)]
    asked = [str(reader_path), plan.to_dict()]
    folder = folder / short_digest([asked, recipe])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(asked), encoding="utf-8")
    _prepare(reader, plan, folder, lambda done: report("study", done / 2))
    peaks: dict[str, int] = {}
    whole: dict[str, Any] = {}
    for index, size in enumerate(plan.sizes):
        report(f"training {size} documents", 0.5 + index / len(plan.sizes) / 4)
        whole = _trained(folder, f"whole-{size}", size)
        peaks[str(size)] = whole["peak_bytes"]
    report("training, killed twice", 0.8)
    killed = _trained(folder, "killed", plan.documents, [int(k * plan.steps) for k in plan.kills])
    report("done", 1.0)
    return {
        "documents": plan.documents,
        "tokens": whole["tokens"],
        "steps": plan.steps,
        "pool": plan.pool,
        "peak_bytes": peaks,
        "kills": len(plan.kills),
        "resume_identical": int(killed["digest"] == whole["digest"]),
    }


def _prepare(
    reader: Reader, plan: LargePlan, folder: Path, report: Callable[[float], None]
) -> None:
    """Texts and their study, each as a file."""
    drawn = CollectionPlan(
        documents=plan.documents,
        facts=plan.facts,
        questions=0,
        recurring=0.0,
        kinds=(SINGLE,),
        seed=plan.seed,
    )
    done = 0
    for documents, _ in draw_collection(drawn, dictionary(word_list())):
        for document in documents:
            path = folder / f"{document.id}.txt"
            if not path.exists():
                aside = path.with_suffix(".tmp")
                aside.write_text(document.text, encoding="utf-8")
                aside.replace(path)
            study = folder / f"{document.id}.parquet"
            kept_study(reader, document.text, plan.training, study, lambda _: None)
            done += 1
            report(done / plan.documents)


def _trained(folder: Path, run: str, size: int, kill_at: list[int] | None = None) -> dict[str, Any]:
    """The result of a training process, killed at the steps given and started again each time."""
    result = folder / f"{run}.json"
    if result.exists():
        stored: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return stored
    start = folder / f"start-{size}"
    if not (start / "begun").exists():
        _process(folder, start.name, size, begin=True)
        (start / "begun").touch()
    if not (folder / run).exists():
        aside = folder / f"{run}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(start, aside)
        aside.replace(folder / run)
    for step in kill_at or ():
        _process(folder, run, size, kill_at=step)
    _process(folder, run, size)
    return dict(json.loads(result.read_text(encoding="utf-8")))


def _process(
    folder: Path, run: str, size: int, *, begin: bool = False, kill_at: int | None = None
) -> None:
    """One training process; with `kill_at` it gets SIGKILL when it has done that step."""
    command = [sys.executable, "-m", "evaluation.large", str(folder), run, str(size)]
    with subprocess.Popen(  # noqa: S603
        [*command, "begin"] if begin else command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if kill_at is not None and int(line) >= kill_at:
                child.kill()
                return
    if child.returncode:
        raise RuntimeError(f"The training process of {run} ended with {child.returncode}.")


def _child(folder: Path, run: str, size: int, *, begin: bool) -> None:
    """What the process does: go on to the end, saying every step, and write the result."""
    reader_path, fields = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    plan = LargePlan(**fields)
    if plan.threads:
        torch.set_num_threads(plan.threads)
    reader = load_reader(reader_path)
    names = sorted(path.stem for path in folder.glob("*.txt"))[:size]
    texts = {name: (folder / f"{name}.txt") for name in names}
    members = []
    for name in names:
        text = texts[name].read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        members.append(Member(name, reader.count(text), digest))

    def first(name: str) -> tuple[Tensor, Tensor]:
        text = texts[name].read_text(encoding="utf-8")
        settings = plan.training
        return first_slots(reader, text, settings.slots(reader.count(text)), settings)

    training = JointTraining(
        reader,
        members,
        lambda name: read_examples(folder / f"{name}.parquet"),
        first,
        JointSettings(
            steps=plan.steps,
            seed=plan.seed,
            pool=plan.pool,
            mixing=Mixing(most=plan.distractors),
            checkpoint_every=max(1, plan.steps // 10),
        ),
        folder / run,
    )
    if begin:
        return
    training.run(lambda _: print(training.step, flush=True))
    cartridges = hashlib.sha256()
    for name in names:
        for part in training.pool.slots(name):
            cartridges.update(part.contiguous().numpy().tobytes())
    result = {
        "digest": cartridges.hexdigest(),
        "tokens": sum(member.tokens for member in members),
        "peak_bytes": peak_bytes(),
    }
    aside = folder / f"{run}.part"
    aside.write_text(json.dumps(result), encoding="utf-8")
    aside.replace(folder / f"{run}.json")


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), begin="begin" in sys.argv[4:])
