"""How well the bundled reader reads: by length, look-alikes, unseen attributes, kinds of questions.

`cartridges reproduce reader` runs this over several seeds and writes `docs/results/reader.json`. All
documents are in context; no cartridge is involved. This file knows the experiments; it knows no service.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from evaluation.arms import answers, no_context
from evaluation.exam import exam
from evaluation.results import Claim, begin, write_result
from evaluation.scoring import exact_match, normalise, states
from evaluation.statistics import estimate
from inference.composer import in_context
from inference.reader import Reader, load_reader
from reader import lexicon as lx
from reader.facts import Fact
from reader.layouts import HELD_OUT
from reader.paths import word_list
from reader.tasks import unstated
from reader.tokenizer import dictionary
from reader.wider import WIDER, Asker
from reader.wordings import NOT_STATED
from reader.world import Group, Sheet
from training.selfstudy import study
from training.settings import TrainingSettings

Report = Callable[[str, float], None]
SELF_STUDY_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """How much is asked; every number is per seed."""

    seeds: tuple[int, ...] = tuple(range(201, 211))
    documents: int = 3
    questions: int = 20
    pairs: int = 6  # groups of two documents that can be joined
    handwritten: Path | None = None  # folder of hand-written sheets; None leaves them out
    unseen: Path | None = None  # the same of sheets that nobody looked at who wrote the recipe


def run_reading(
    reader_path: str | Path, out: Path, plan: ReadingPlan, report: Report = lambda *_: None
) -> dict[str, Any]:
    """Measure the reader for every seed and write the result file."""
    began = begin()
    reader = load_reader(reader_path)
    rows = []
    for index, seed in enumerate(plan.seeds):
        row: dict[str, Any] = {"seed": seed}
        for part, measure in enumerate(_PARTS):
            words = f"seed {seed}: {measure.__name__.strip('_').replace('_', ' ')}"
            report(words, (index + part / len(_PARTS)) / len(plan.seeds))
            row |= measure(Desk(reader, seed), plan)
        rows.append(row)
    report("hand-written sheets", 0.99)
    folders = {"handwritten_em": plan.handwritten, "handwritten_unseen_em": plan.unseen}
    written = {
        name: read_handwritten(reader, folder)
        for name, folder in folders.items()
        if folder is not None
    }
    report("done", 1.0)
    return write_result(
        out,
        "reader",
        command=f"cartridges reproduce reader --seeds {len(plan.seeds)} --json",
        seeds=plan.seeds,
        rows=rows,
        claims=claims(rows, written),
        began=began,
        plan=exam(reader.fingerprint),
    )


_TARGETS = {
    "em_1k": ">= 0.95",
    "em_4k_lookalike": ">= 0.90",
    "em_unseen_attributes": ">= 0.85",
    "em_heldout_kind": ">= 0.80",
    "em_join": ">= 0.75",
    "not_stated_precision": ">= 0.90",
    "not_stated_recall": ">= 0.90",
    "no_context_em": "<= 0.05",
    "selfstudy_fact_coverage": ">= 0.80",
    "selfstudy_answerable": ">= 0.90",
}


def claims(rows: Sequence[dict[str, Any]], written: dict[str, float]) -> dict[str, Claim]:
    found = {
        name: Claim(estimate([row[name] for row in rows]), target)
        for name, target in _TARGETS.items()
    }
    for name, value in written.items():  # the same sheets for every seed: no interval
        found[name] = Claim(estimate([value]), ">= 0.80")
    return found


class Desk:
    """Documents and questions of the evaluation split for one seed, and the reader at work on them."""

    def __init__(self, reader: Reader, seed: int) -> None:
        self.reader, self.seed = reader, seed
        self.words = dictionary(word_list())

    def group(self, name: str) -> tuple[Random, Group]:
        """Randomness and an empty group for one part of the measurement."""
        rng = Random(f"reading/{self.seed}/{name}")
        return rng, Group(rng, "eval", self.words)

    def sheet(self, group: Group, tokens: int, layout: str | None = None) -> Sheet:
        """A document of about `tokens` tokens. Raises ValueError when none can be drawn."""
        facts = max(2, tokens // 18)
        for _ in range(60):
            tried = group.copy()
            sheet = tried.sheet(facts, layout)
            size = self.reader.count(sheet.text)
            if abs(size - tokens) <= 0.2 * tokens:
                group.become(tried)
                return sheet
            facts = max(2, round(facts * min(2.0, max(0.5, tokens / size))))
        raise ValueError(f"No document of about {tokens} tokens was drawn.")

    def share_right(
        self, sheets: Sequence[Sheet], asked: Sequence[tuple[str, str]], *, bare: bool = False
    ) -> list[bool]:
        """For each (question, gold sentence), whether the answer is right."""
        texts = [sheet.text for sheet in sheets]
        prefix = no_context(self.reader) if bare else in_context(self.reader, texts)
        said = answers(self.reader, prefix, [question for question, _ in asked], bare=bare)
        return [exact_match(text, gold) for text, (_, gold) in zip(said, asked, strict=True)]


def _mean(right: Sequence[bool]) -> float:
    if not right:
        raise ValueError("No question of one kind was drawn: raise the plan's documents or pairs.")
    return sum(right) / len(right)


def _asked(
    facts: Sequence[Fact], rng: Random, count: int, *, synonyms: bool = False
) -> list[tuple[str, str]]:
    chosen = rng.sample(facts, min(count, len(facts)))
    return [tuple(fact.asked(rng, "eval", synonyms=synonyms)) for fact in chosen]  # type: ignore[misc]


def _single_facts(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """One document of about a thousand tokens, and eight of the questions without it."""
    right: list[bool] = []
    blind: list[bool] = []
    for number in range(plan.documents):
        rng, group = desk.group(f"single/{number}")
        sheet = desk.sheet(group, 1_000)
        asked = _asked(sheet.facts, rng, plan.questions)
        right += desk.share_right([sheet], asked)
        blind += desk.share_right([], asked[:8], bare=True)
    return {"em_1k": _mean(right), "no_context_em": _mean(blind)}


def _lookalikes(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """Four documents, four thousand tokens, which say the same kinds of things of different subjects."""
    right: list[bool] = []
    by_quarter: list[list[bool]] = [[], [], [], []]
    for number in range(plan.documents):
        rng, group = desk.group(f"lookalike/{number}")
        group.repeats = 0.5
        sheets = [desk.sheet(group, 1_000) for _ in range(4)]
        for quarter, sheet in enumerate(sheets):
            asked = _asked(sheet.facts, rng, max(1, plan.questions // 4))
            by_quarter[quarter] += desk.share_right(sheets, asked)
    right = [good for quarter in by_quarter for good in quarter]
    return {"em_4k_lookalike": _mean(right), "em_4k_by_document": [_mean(q) for q in by_quarter]}


def _unseen_attributes(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """Facts whose attribute no list of the world has and whose noun training never asked for."""
    listed = {*lx.PLACE_NOUNS, *lx.DATE_NOUNS, *lx.MEASURE_NOUNS, *lx.CODE_NOUNS, *lx.THING_NOUNS}
    right: list[bool] = []
    for number in range(2 * plan.documents):  # a quarter of a sheet's facts are of such a kind
        rng, group = desk.group(f"unseen/{number}")
        group.kinds = ("attribute",)
        sheet = desk.sheet(group, 1_000)
        unseen = [f for f in sheet.facts if not _is_listed(dict(f.fields)["N"], listed)]
        right += desk.share_right([sheet], _asked(unseen, rng, plan.questions))
    return {"em_unseen_attributes": _mean(right), "unseen_attribute_questions": len(right)}


def _is_listed(noun: str, listed: Collection[str]) -> bool:
    """Whether lists have the noun; "velvet price" is as listed as "price"."""
    return any(noun == known or noun.endswith(f" {known}") for known in listed)


def _synonyms(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """Questions that use another word than the document for what is asked."""
    right: list[bool] = []
    for number in range(plan.documents):
        rng, group = desk.group(f"synonyms/{number}")
        sheet = desk.sheet(group, 1_000)
        known = [fact for fact in sheet.facts if dict(fact.fields).get("N") in lx.SYNONYMS]
        right += desk.share_right([sheet], _asked(known, rng, plan.questions, synonyms=True))
    return {"em_synonyms": _mean(right), "synonym_questions": len(right)}


def _held_out_kind(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """Documents of the kind that training never draws."""
    (kind,) = HELD_OUT
    right: list[bool] = []
    for number in range(plan.documents):
        rng, group = desk.group(f"kind/{number}")
        sheet = desk.sheet(group, 600, kind)
        right += desk.share_right([sheet], _asked(sheet.facts, rng, plan.questions))
    return {"em_heldout_kind": _mean(right)}


def _wider_questions(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """Questions of several steps about two documents, by kind; `join` needs both of them."""
    right: dict[str, list[bool]] = {kind: [] for kind in WIDER}
    answered = 0
    for number in range(40 * plan.pairs):
        if answered == plan.pairs:
            break
        _, group = desk.group(f"wider/{number}")
        group.recurring = 0.4
        sheets = [desk.sheet(group, 400) for _ in range(2)]
        asker = Asker(group.rng, "eval", [sheet.facts for sheet in sheets])
        if asker.draw("join") is None:  # about half of all pairs have a join
            continue
        answered += 1
        drawn = [q for kind in WIDER for _ in range(4) if (q := asker.draw(kind)) is not None]
        good = desk.share_right(sheets, [(q.text, q.answer) for q in drawn])
        for question, fine in zip(drawn, good, strict=True):
            right[question.kind].append(fine)
    return {
        "em_join": _mean(right["join"]),
        "em_by_kind": {kind: round(_mean(r), 4) for kind, r in right.items() if r},
        "questions_by_kind": {kind: len(r) for kind, r in right.items()},
    }


def _not_stated(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """As many questions that a document answers as that it does not."""
    said_so = truly_open = both = 0
    for number in range(plan.documents):
        rng, group = desk.group(f"unstated/{number}")
        sheet = desk.sheet(group, 600)
        stated = [question for question, _ in _asked(sheet.facts, rng, plan.questions // 2)]
        strangers = [unstated(rng, sheet.facts, group) for _ in stated]
        open_ = [fact.asked(rng, "eval").question for fact in strangers]
        prefix = in_context(desk.reader, [sheet.text])
        said = answers(desk.reader, prefix, [*stated, *open_])
        for place, text in enumerate(said):
            says, is_open = exact_match(text, NOT_STATED), place >= len(stated)
            said_so += says
            truly_open += is_open
            both += says and is_open
    return {
        "not_stated_precision": both / said_so if said_so else 0.0,
        "not_stated_recall": both / truly_open,
    }


def _self_study(desk: Desk, plan: ReadingPlan) -> dict[str, Any]:
    """Questions that self-study keeps: which facts they are about, and if any."""
    _, group = desk.group("selfstudy")
    sheet = desk.sheet(group, 1_000)
    settings = TrainingSettings(
        seed=desk.seed,
        # So many hold as many questions: of more, a random part would be looked at.
        min_conversations=round(1.45 * SELF_STUDY_QUESTIONS),
        conversations_per_token=0.001,
        held_out=0,
        accept_at=0.0,
    )
    examples = study(desk.reader, sheet.text, settings, lambda _: None)
    questions = [
        desk.reader.decode(example.prompt)
        for example in examples
        if example.kind in {"question", "use_case"}
    ]
    touched: set[Fact] = set()
    answerable = 0
    for question in questions[:SELF_STUDY_QUESTIONS]:
        about = [fact for fact in sheet.facts if asks_for(question, fact)]
        touched.update(about)
        answerable += bool(about)
    asked = min(SELF_STUDY_QUESTIONS, len(questions))
    return {
        "selfstudy_questions": asked,
        "selfstudy_fact_coverage": len(touched) / len(sheet.facts),
        "selfstudy_answerable": answerable / asked if asked else 0.0,
    }


def asks_for(question: str, fact: Fact) -> bool:
    """Whether a question names the fact's subject and what is said of it, as whole words.

    A synonym that the reader was taught names it, too.
    """
    text = f" {normalise(question)} "

    def named(words: str) -> bool:
        return f" {normalise(words)} " in text

    if not named(fact.subject) and not named(fact.mention):
        return False
    said = [form for _, form in fact.fields]
    return any(
        named(form) for form in [*said, *lx.SYNONYMS.get(dict(fact.fields).get("N", ""), ())]
    )


def read_handwritten(reader: Reader, folder: Path) -> float:
    """Share of the hand-written sheets' questions whose answer states an accepted value."""
    right: list[bool] = []
    for path in sorted(folder.glob("*.md")):
        questions = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        prefix = in_context(reader, [path.read_text(encoding="utf-8")])
        said = answers(reader, prefix, [q["question"] for q in questions])
        right += [
            any(states(text, value) for value in q["accepted"])
            for text, q in zip(said, questions, strict=True)
        ]
    return _mean(right)


_PARTS: tuple[Callable[[Desk, ReadingPlan], dict[str, Any]], ...] = (
    _single_facts,
    _lookalikes,
    _unseen_attributes,
    _synonyms,
    _held_out_kind,
    _wider_questions,
    _not_stated,
    _self_study,
)
