"""Collections to compare ways of training on: look-alike documents, studied once, trained in arms.

Everything lies in a working folder, so that the same call goes on where it was stopped. This file knows
how a collection is trained; it knows no measurement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from evaluation.held_out import HeldOut, held_out
from inference.reader import Reader
from retrieval.documents import DocumentLibrary
from retrieval.encoder import Encoder
from retrieval.retriever import Retriever
from training.collection import with_rivals
from training.distillation import Distillation, next_token
from training.examples import StudyExample, read_examples
from training.joint import JointSettings, JointTraining, Member, OffsetRule
from training.mixing import Mixing
from training.naming import short_digest
from training.pipeline import first_slots
from training.settings import TrainingSettings
from training.studying import kept_study

FIRST_SEED = 311
"""Of what is published. 301 to 310 are for choosing recipes by: what has chosen one does not measure it."""
_NAME = "cas"  # of the collection, in its library and index
_JOINT = JointSettings(steps=1)  # but for the steps, the recipe of every arm


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training the collection: how examples are mixed, at what compression, from what start.

    `learns` is what slots are trained on: answers (context distillation), the text's own tokens, or
    nothing. `known` is the weight of an example beside what it last lost (None: all are alike). `whole` is
    one cartridge for the collection, with as many slots as the others have together.
    """

    mixing: Mixing
    compression: float = 10.0
    initialiser: str = "compaction"
    offset_rule: OffsetRule = "fixed"
    learns: Literal["answers", "text", "nothing"] = "answers"
    known: float | None = 0.2
    whole: bool = False


ISOLATED = Arm(Mixing(alone=1.0))
MIXED = Arm(Mixing())
ARMS: dict[str, Arm] = {
    "isolated": ISOLATED,
    "mixed": MIXED,
    "monolithic": replace(ISOLATED, whole=True),
    "mixed_20x": replace(MIXED, compression=20.0),
}
"""Those that claims are about."""
ABLATIONS: dict[str, Arm] = {
    "next_token": replace(ISOLATED, learns="text", initialiser="spread"),  # and no study at all
    "first_tokens_untrained": replace(ISOLATED, initialiser="first", learns="nothing"),
    "compaction_untrained": replace(ISOLATED, initialiser="compaction", learns="nothing"),
    "mixed_2x": replace(MIXED, compression=2.0),
    "mixed_5x": replace(MIXED, compression=5.0),
    "mixed_50x": replace(MIXED, compression=50.0),
    "always_mixed": Arm(Mixing(alone=0.0)),
    "few_distractors": Arm(Mixing(most=3)),
    "random_distractors": Arm(Mixing(hard=0.0)),
    "hard_distractors": Arm(Mixing(hard=1.0)),
    "own_gradients": Arm(Mixing(learners="own")),
    "from_first_tokens": replace(MIXED, initialiser="first"),
    "from_spread_tokens": replace(MIXED, initialiser="spread"),
    "questions_behind_slots": replace(MIXED, offset_rule="visible"),
    "examples_alike": replace(MIXED, known=None),
}


@dataclass(frozen=True, slots=True)
class CasPlan:
    """How large the collections are and how long they are trained; every number is per seed."""

    seeds: tuple[int, ...] = tuple(range(FIRST_SEED, FIRST_SEED + 3))
    documents: int = 20
    tokens: tuple[int, int] = (260, 360)  # of a document
    alike: float = 0.5
    questions: int = 8  # to each document
    loaded: tuple[int, ...] = (1, 2, 4, 8, 16, 20)  # cartridges beside each other
    retrieved: int = 5  # documents that retrieval brings for a question
    rows: int = 3_600  # examples that each document learns from, repeats counted
    pool: int = 20
    training: TrainingSettings = field(default_factory=TrainingSettings)  # study and positions
    arms: Mapping[str, Arm] = field(default_factory=lambda: ARMS)

    def of_a_seed(self) -> dict[str, object]:
        """What every seed is measured by, whichever seeds there are."""
        plan = asdict(self)
        del plan["seeds"]
        return plan | {"joint": asdict(_JOINT)}


SMALL = CasPlan(seeds=(FIRST_SEED,), documents=4, loaded=(1, 2, 4), rows=1_200, pool=4)


@dataclass(frozen=True)
class Collection:
    """One seed's documents, searchable; `neighbours` are other documents, nearest first."""

    drawn: HeldOut
    names: tuple[str, ...]
    neighbours: Mapping[str, tuple[str, ...]]
    retriever: Retriever
    folder: Path

    def found(self, question: str, count: int) -> list[str]:
        """The documents that retrieval brings for a question, best first; none if it is no question."""
        return self.retriever.brought(_NAME, question, count)

    def passages(self, question: str, count: int) -> list[str]:
        """The passages that retrieval brings for a question, best first, each under its title."""
        found = self.retriever.search(_NAME, question, count)
        best = sorted((hit for each in found for hit in each.passages), key=lambda hit: -hit.score)
        titles = {n: sheet.title for n, sheet in zip(self.names, self.drawn.sheets, strict=True)}
        return [
            hit.text
            if hit.text.lstrip("# ").startswith(title := titles[hit.document_id])
            else f"# {title}\n\n{hit.text}"
            for hit in best[:count]
        ]

    def company(self, name: str, count: int) -> list[str]:
        """A document and its nearest neighbours, `count` in all, in the order of composing."""
        return sorted((name, *self.neighbours[name][: count - 1]))

    def text(self, name: str) -> str:
        """A document's text."""
        return self.drawn.sheets[self.names.index(name)].text

    def study(self, name: str) -> list[StudyExample]:
        """A document's study, from its file."""
        return read_examples(self.folder / f"{name}.parquet")


def drawn_collection(
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
    # A study belongs to its reader, settings and texts: others have a folder of their own.
    folder = folder / short_digest(
        [reader.fingerprint, plan.training.of_study(), [s.text for s in drawn.sheets], seed]
    )
    folder.mkdir(parents=True, exist_ok=True)
    library = DocumentLibrary(folder / "library")
    retriever = Retriever(library, encoder, folder / "index")
    for name, sheet in zip(names, drawn.sheets, strict=True):
        library.put(_NAME, name, sheet.title, sheet.text)
    retriever.reconcile(_NAME)
    collection = Collection(drawn, names, nearest(encoder, names, drawn), retriever, folder)
    settings = replace(plan.training, seed=seed)
    for index, name in enumerate(names):

        def told(done: float, index: int = index) -> None:
            report((index + done) / len(names))

        def find(question: str) -> list[str]:
            return collection.found(question, settings.rivals + 1)

        path = folder / f"{name}.parquet"
        kept_study(reader, collection.text(name), settings, path, told, with_rivals(name, find))
    return collection


def nearest(encoder: Encoder, names: Sequence[str], drawn: HeldOut) -> dict[str, tuple[str, ...]]:
    """For each document, those that retrieval would confuse it with, by cosine of their texts."""
    vectors = np.asarray(encoder.encode([sheet.text for sheet in drawn.sheets]))
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    order = np.argsort(-likeness, axis=1, kind="stable")[:, :-1]
    return {name: tuple(names[i] for i in row) for name, row in zip(names, order, strict=True)}


def asked_digest(plan: CasPlan, found: Collection) -> str:
    """Names what is asked of the collection, and how much of it is loaded."""
    items = [[item.question, item.answer] for item in found.drawn.items]
    return short_digest([items, plan.loaded, plan.questions])


def arm_digest(arm: Arm, plan: CasPlan, found: Collection) -> str:
    """Names what an arm scored: all that its answers depend on."""
    trained = (plan.rows, plan.pool, plan.retrieved, plan.training.to_dict(), asdict(_JOINT))
    return short_digest([asdict(arm), *trained, asked_digest(plan, found)])


def train_arm(
    reader: Reader,
    collection: Collection,
    seed: int,
    arm: Arm,
    plan: CasPlan,
    report: Callable[[float], None],
) -> dict[str, tuple[Tensor, Tensor]]:
    """The arm's cartridges, trained to the end, in the reader's dtype."""
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
        return Member(name, tokens, short_digest([text]), collection.neighbours[name])

    members = [member(name) for name in collection.names]
    if arm.whole:  # one member, whose slots are the others' laid behind each other
        tokens = sum(each.tokens for each in members)
        members = [Member("all", tokens, short_digest([each.digest for each in members]))]

    def first(name: str) -> tuple[Tensor, Tensor]:
        pairs = []
        for each in collection.names if arm.whole else (name,):
            text = collection.text(each)
            wanted = settings.slots(reader.count(text))
            pairs.append(first_slots(reader, text, wanted, settings, collection.study(each)))
        keys, values = (torch.cat([pair[side] for pair in pairs], dim=2) for side in (0, 1))
        return keys, values

    def study(name: str) -> list[StudyExample]:
        names = collection.names if arm.whole else (name,)
        return [example for each in names for example in collection.study(each)]

    batch = _JOINT.batch
    steps = max(1, plan.rows * len(collection.names) // batch)
    recipe = (plan.training.to_dict(), asdict(_JOINT))
    folder = collection.folder / short_digest([asdict(arm), steps, plan.pool, *recipe])
    if arm.learns == "nothing":
        return {name: _in(reader.dtype, first(name)) for name in collection.names}
    if arm.learns == "text":
        folder.mkdir(parents=True, exist_ok=True)
        trained = {}
        for index, name in enumerate(collection.names):
            text, study_ = collection.text(name), collection.study(name)
            # As many tokens as the other arms see of each document, in rows that are the document.
            each_row = sum(len(e.prompt) + len(e.answer) for e in study_) / len(study_)
            tokens = reader.count(text)
            span = min(tokens - 1, 2 * settings.window_max)
            a_step = span * max(1, min(4, tokens // span))  # as `next_token` draws
            alike = max(1, round(plan.rows * each_row / a_step))
            run_ = Distillation(*first(name), alike, settings, folder, name)
            run_.run(next_token(reader, text, settings), lambda _: None)
            trained[name] = _in(reader.dtype, (run_.keys, run_.values))
            report((index + 1) / len(members))
        return trained
    joint = replace(
        _JOINT,
        steps=steps,
        seed=seed,
        pool=max(2, min(plan.pool, len(members))),
        mixing=arm.mixing,
        question_offset=settings.question_offset,
        offset_rule=arm.offset_rule,
        known=arm.known,
    )
    run = JointTraining(reader, members, study, first, joint, folder)
    run.run(report)
    return {each.name: _in(reader.dtype, run.pool.slots(each.name)) for each in members}


def _in(dtype: torch.dtype, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    keys, values = pair
    return keys.detach().to(dtype), values.detach().to(dtype)
