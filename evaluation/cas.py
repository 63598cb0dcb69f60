"""Cartridges at Scale, measured: do cartridges trained together compose where isolated ones collapse?

`cartridges reproduce cas` draws collections of look-alike documents of the world, studies each document
once and trains every arm on the same study, for as many steps, with as many slots. Then each document
is asked about with its own cartridge loaded alone and among its nearest neighbours. What is done lies in
a working folder: the same command goes on where it was stopped. This file knows the experiment; it
knows no service.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from evaluation.arms import in_context, slots
from evaluation.gates import score
from evaluation.held_out import HeldOut, held_out
from evaluation.results import Claim, write_result
from evaluation.statistics import estimate
from inference.reader import Reader, load_reader
from retrieval.encoder import Encoder, MiniLmEncoder
from training.examples import StudyExample, read_examples, write_examples
from training.joint import JointSettings, JointTraining, Member
from training.mixing import Mixing
from training.pipeline import first_slots
from training.selfstudy import study
from training.settings import TrainingSettings

Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training the collection: how examples are mixed, at what compression, from what start."""

    mixing: Mixing
    compression: float = 10.0
    initialiser: str = "spread"


ISOLATED = Arm(Mixing(alone=1.0))
MIXED = Arm(Mixing())
ARMS: dict[str, Arm] = {"isolated": ISOLATED, "mixed": MIXED}
ABLATIONS: dict[str, Arm] = {
    "mixed_20x": replace(MIXED, compression=20.0),
    "always_mixed": Arm(Mixing(alone=0.0)),
    "few_distractors": Arm(Mixing(most=3)),
    "random_distractors": Arm(Mixing(hard=0.0)),
    "hard_distractors": Arm(Mixing(hard=1.0)),
    "own_gradients": Arm(Mixing(learners="own")),
    "from_first_tokens": replace(MIXED, initialiser="first"),
    "from_compaction": replace(MIXED, initialiser="compaction"),
}


@dataclass(frozen=True, slots=True)
class CasPlan:
    """How large the collections are and how long they are trained; every number is per seed."""

    seeds: tuple[int, ...] = (301, 302, 303)
    documents: int = 20
    tokens: tuple[int, int] = (260, 360)  # of a document
    alike: float = 0.5
    questions: int = 8  # to each document
    loaded: tuple[int, ...] = (1, 2, 4, 8, 16, 20)  # cartridges beside each other
    rows: int = 2_400  # examples that each document learns from, repeats counted
    pool: int = 20
    training: TrainingSettings = field(default_factory=TrainingSettings)  # study and positions
    arms: Mapping[str, Arm] = field(default_factory=lambda: ARMS)


SMALL = CasPlan(seeds=(301,), documents=4, loaded=(1, 2, 4), rows=1_200, pool=4)


@dataclass(frozen=True)
class Collection:
    """One seed's documents with what is known of them; `neighbours` are other documents, nearest first."""

    drawn: HeldOut
    names: tuple[str, ...]
    neighbours: Mapping[str, tuple[str, ...]]
    folder: Path

    def text(self, name: str) -> str:
        """A document's text."""
        return self.drawn.sheets[self.names.index(name)].text

    def study(self, name: str) -> list[StudyExample]:
        """A document's study, from its file."""
        return read_examples(self.folder / f"{name}.parquet")


def run_cas(
    reader_path: str | Path,
    out: Path,
    plan: CasPlan,
    work: Path,
    report: Report = lambda *_: None,
) -> dict[str, Any]:
    """Train and measure every arm for every seed and write the result file."""
    started = time.monotonic()
    reader = load_reader(reader_path)
    encoder = MiniLmEncoder()
    rows: list[dict[str, Any]] = []
    for index, seed in enumerate(plan.seeds):

        def told(words: str, done: float, seed: int = seed, index: int = index) -> None:
            report(f"seed {seed}: {words}", (index + done) / len(plan.seeds))

        rows.append(_seed(reader, encoder, seed, plan, work / f"seed-{seed}", told))
    report("done", 1.0)
    return write_result(
        out,
        "cas",
        command="cartridges reproduce cas --json",
        seeds=plan.seeds,
        rows=rows,
        claims=claims(rows),
        seconds=time.monotonic() - started,
    )


def _seed(
    reader: Reader, encoder: Encoder, seed: int, plan: CasPlan, folder: Path, report: Report
) -> dict[str, Any]:
    collection = _collection(reader, encoder, seed, plan, folder, lambda d: report("study", d / 4))
    row: dict[str, Any] = {
        "seed": seed,
        "documents": len(collection.names),
        "tokens": sum(reader.count(sheet.text) for sheet in collection.drawn.sheets),
        "icl_em": _asked(
            reader, collection, lambda name: in_context(reader, [collection.text(name)])
        ),
        "em": {},
        "slots": {},
        "seconds": {},
    }
    for place, (name, arm) in enumerate(plan.arms.items()):

        def told(done: float, name: str = name, place: int = place) -> None:
            report(name, 0.25 + 0.75 * (place + done) / len(plan.arms))

        started = time.monotonic()
        trained = _train(reader, collection, seed, arm, plan, folder / name, told)
        row["seconds"][name] = round(time.monotonic() - started, 1)
        row["slots"][name] = sum(keys.shape[2] for keys, _ in trained.values())
        row["em"][name] = {
            str(loaded): _composed(
                reader, collection, trained, loaded, plan.training.question_offset
            )
            for loaded in plan.loaded
            if loaded <= len(collection.names)
        }
    return row


def _collection(
    reader: Reader,
    encoder: Encoder,
    seed: int,
    plan: CasPlan,
    folder: Path,
    report: Callable[[float], None],
) -> Collection:
    """The seed's documents; their study is read where it has been made."""
    drawn = held_out(
        seed,
        sheets=plan.documents,
        questions=plan.questions,
        count=reader.count,
        tokens=plan.tokens,
        alike=plan.alike,
    )
    names = tuple(f"doc-{number:04d}" for number in range(plan.documents))
    collection = Collection(drawn, names, nearest(encoder, names, drawn), folder)
    folder.mkdir(parents=True, exist_ok=True)
    whose = folder / "study.json"
    run = json.dumps(
        [reader.fingerprint, plan.training.to_dict(), [sheet.text for sheet in drawn.sheets]]
    )
    if not whose.exists() or whose.read_text(encoding="utf-8") != run:
        for stale in folder.glob("*.parquet"):
            stale.unlink()
        whose.write_text(run, encoding="utf-8")
    for index, name in enumerate(names):
        path = folder / f"{name}.parquet"
        if not path.exists():
            made = study(
                reader, collection.text(name), replace(plan.training, seed=seed), lambda _: None
            )
            write_examples(path, made)
        report((index + 1) / len(names))
    return collection


def nearest(encoder: Encoder, names: Sequence[str], drawn: HeldOut) -> dict[str, tuple[str, ...]]:
    """For each document, those that retrieval would confuse it with, by cosine of their texts."""
    vectors = np.asarray(encoder.encode([sheet.text for sheet in drawn.sheets]))
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    order = np.argsort(-likeness, axis=1, kind="stable")[:, :-1]
    return {name: tuple(names[i] for i in row) for name, row in zip(names, order, strict=True)}


def _train(
    reader: Reader,
    collection: Collection,
    seed: int,
    arm: Arm,
    plan: CasPlan,
    folder: Path,
    report: Callable[[float], None],
) -> dict[str, tuple[Tensor, Tensor]]:
    """The arm's cartridges, trained to the end in `folder`, in the reader's dtype."""
    settings = replace(
        plan.training,
        seed=seed,
        compression=arm.compression,
        min_slots=1,
        initialiser=arm.initialiser,
    )

    def member(name: str) -> Member:
        text = collection.text(name)
        tokens = reader.count(text)
        start = f"{arm.initialiser}/{settings.slots(tokens)}/{text}"
        digest = hashlib.sha256(start.encode()).hexdigest()
        return Member(name, tokens, digest, collection.neighbours[name])

    members = [member(name) for name in collection.names]

    def first(name: str) -> tuple[Tensor, Tensor]:
        text = collection.text(name)
        wanted = settings.slots(reader.count(text))
        return first_slots(reader, text, wanted, settings, collection.study(name))

    joint = JointSettings(
        steps=max(1, plan.rows * len(members) // JointSettings(steps=1).batch),
        seed=seed,
        pool=max(2, min(plan.pool, len(members))),
        mixing=arm.mixing,
        question_offset=settings.question_offset,
    )
    run = JointTraining(reader, members, collection.study, first, joint, folder)
    run.run(report)
    return {
        name: (keys.to(reader.dtype), values.to(reader.dtype))
        for name in collection.names
        for keys, values in [run.pool.slots(name)]
    }


def _composed(
    reader: Reader,
    collection: Collection,
    trained: Mapping[str, tuple[Tensor, Tensor]],
    loaded: int,
    offset: int,
) -> float:
    """Exact match with each document's own cartridge and its `loaded - 1` nearest neighbours in place."""

    def beside(name: str) -> Any:
        company = sorted((name, *collection.neighbours[name][: loaded - 1]))
        return slots(reader, [trained[one] for one in company], offset)

    return _asked(reader, collection, beside)


def _asked(reader: Reader, collection: Collection, prefix: Callable[[str], Any]) -> float:
    right: list[bool] = []
    for index, name in enumerate(collection.names):
        items = [item for item in collection.drawn.items if item.document == index]
        right += score(reader, prefix(name), items)
    return sum(right) / len(right)


def claims(rows: Sequence[Mapping[str, Any]]) -> dict[str, Claim]:
    """What the rows allow to be said; a figure whose arm or number of cartridges is missing is left out."""
    wanted: dict[str, tuple[Callable[[Mapping[str, Any]], float], str]] = {
        "isolated_loss_at_8_points": (lambda r: _loss(r, "isolated", 8), ">= 20"),
        "mixed_loss_at_8_points": (lambda r: _loss(r, "mixed", 8), "<= 2"),
        "mixed_loss_at_20_points": (lambda r: _loss(r, "mixed", 20), "<= 4"),
        "mixed_minus_isolated_alone_points": (
            lambda r: 100 * (r["em"]["mixed"]["1"] - r["em"]["isolated"]["1"]),
            ">= -2",
        ),
        "oracle_gap_10x_points": (
            lambda r: 100 * (r["icl_em"] - r["em"]["mixed"]["1"]),
            "<= 3",
        ),
        "oracle_gap_20x_points": (
            lambda r: 100 * (r["icl_em"] - r["em"]["mixed_20x"]["1"]),
            "<= 6",
        ),
    }
    found: dict[str, Claim] = {}
    for name, (figure, target) in wanted.items():
        try:
            found[name] = Claim(estimate([figure(row) for row in rows]), target)
        except KeyError:
            continue
    return found


def _loss(row: Mapping[str, Any], arm: str, loaded: int) -> float:
    return 100 * float(row["em"][arm]["1"] - row["em"][arm][str(loaded)])
