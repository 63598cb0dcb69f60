"""Cartridges at Scale, measured: do cartridges trained together compose where isolated ones collapse?

`cartridges reproduce cas` draws collections of look-alike documents of the world, studies each document
once and trains every arm on the same study for as many steps (with as many slots, but where the
compression is what is compared). Then each document
is asked about with its own cartridge loaded alone and among its nearest neighbours, and with their texts in
context, which says what of a loss is the reader's own. What is done lies in
a working folder: the same command goes on where it was stopped. This file knows the experiment; it
knows no service.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from evaluation.arms import slots
from evaluation.collection import (
    Arm,
    CasPlan,
    Collection,
    arm_digest,
    asked_digest,
    drawn_collection,
    train_arm,
)
from evaluation.exam import exam
from evaluation.gates import score
from evaluation.large import LargePlan, run_large
from evaluation.results import Claim, begin, earlier_rows, made_by, together, write_result
from evaluation.statistics import estimate
from inference.composer import Composition, in_context
from inference.reader import Reader, load_reader
from retrieval.durable import replace_file
from retrieval.encoder import Encoder, MiniLmEncoder

Report = Callable[[str, float], None]
Told = Callable[[float], None]

_MOST_TEXTS = 8  # in context
_PASSAGES = 3


def run_cas(
    reader_path: str | Path,
    out: Path,
    plan: CasPlan,
    work: Path,
    report: Report = lambda *_: None,
    *,
    large: LargePlan | None = None,
    more: bool = False,
    name: str = "cas",
    command: str = "cartridges reproduce cas",
) -> dict[str, Any]:
    """Train and measure every arm for every seed and write the result file `name`.json.

    With `large`, a collection of a million tokens is trained too. With `more`, what the file has already is
    kept as it is. `command` makes the file, but for `--large` and its seeds.

    Raises AnotherPlan where what the file has was measured by another plan.
    """
    began = begin()
    reader = load_reader(reader_path)
    asked = plan.of_a_seed() | exam(reader.fingerprint)
    earlier = earlier_rows(out, name, asked) if more else []
    known = {row["seed"]: row for row in earlier if "seed" in row}
    largest = next((row for row in earlier if "large" in row), None)
    if large is not None and largest is not None and largest.get("plan") != large.to_dict():
        largest = None
    encoder = MiniLmEncoder()
    rows: list[dict[str, Any]] = []
    for index, seed in enumerate(plan.seeds):

        def told(words: str, done: float, seed: int = seed, index: int = index) -> None:
            report(f"seed {seed}: {words}", (index + done) / len(plan.seeds))

        if seed in known:
            rows.append(known.pop(seed))
        else:
            rows.append(_seed(reader, encoder, seed, plan, work / f"seed-{seed}", told))
    rows += known.values()
    found, seeds = claims(rows), [row["seed"] for row in rows]
    if large is not None and largest is None:
        measured = run_large(reader_path, large, work / "large", report)
        largest = {"large": measured, "plan": large.to_dict()}
    if largest is not None:
        rows.append(largest)
        found |= large_claims(largest["large"])
    report("done", 1.0)
    return write_result(
        out,
        name,
        command=f"{command}{' --large' * (largest is not None)} --seeds {len(seeds)} --json",
        seeds=seeds,
        rows=rows,
        claims=found,
        began=began,
        plan=asked,
    )


def _seed(
    reader: Reader, encoder: Encoder, seed: int, plan: CasPlan, folder: Path, report: Report
) -> dict[str, Any]:
    collection = drawn_collection(
        reader, encoder, seed, plan, folder, lambda d: report("study", d / 4)
    )
    icl = _kept(
        collection.folder / f"icl-{asked_digest(plan, collection)}.scores.json",
        lambda: _in_context(reader, collection, plan),
    )
    pieces = [icl.pop("measured")]
    row: dict[str, Any] = {
        "seed": seed,
        "documents": len(collection.names),
        "tokens": sum(reader.count(sheet.text) for sheet in collection.drawn.sheets),
        "icl_em": icl["1"],
        "em": {"icl": icl},
        "slots": {},
    }
    for place, (name, arm) in enumerate(plan.arms.items()):

        def told(done: float, name: str = name, place: int = place) -> None:
            report(name, 0.25 + 0.75 * (place + done) / len(plan.arms))

        def scored(name: str = name, arm: Arm = arm, told: Told = told) -> dict[str, Any]:
            trained = train_arm(reader, collection, seed, arm, plan, told)
            return _scores(reader, collection, name, arm, trained, plan)

        scores = _kept(
            collection.folder / f"{arm_digest(arm, plan, collection)}.scores.json", scored
        )
        pieces.append(scores["measured"])
        row["slots"][name], row["em"][name] = scores["slots"], scores["em"]
        if "retrieved" in scores:
            row["retrieved"] = scores["retrieved"]
    row["measured"] = together(pieces)
    return row


def _kept(path: Path, found: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What lies in a file; where there is none yet, what is found, put there with what it was made by."""
    if not path.exists():
        began = begin()
        replace_file(path, json.dumps(found() | {"measured": made_by(began)}).encode())
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def _scores(
    reader: Reader,
    collection: Collection,
    name: str,
    arm: Arm,
    trained: Mapping[str, tuple[Tensor, Tensor]],
    plan: CasPlan,
) -> dict[str, Any]:
    """What an arm's cartridges answer; kept with its training, so that it is not asked again."""
    scores: dict[str, Any] = {"slots": sum(keys.shape[2] for keys, _ in trained.values())}
    if arm.whole:
        return scores | {"em": {"all": _whole(reader, collection, trained, plan)}}
    scores["em"] = {
        str(loaded): _composed(reader, collection, trained, loaded, arm, plan)
        for loaded in plan.loaded
        if loaded <= len(collection.names)
    }
    if name == "mixed":
        scores["retrieved"] = _retrieved(reader, collection, trained, plan)
    return scores


def _in_context(reader: Reader, collection: Collection, plan: CasPlan) -> dict[str, Any]:
    """Exact match with each document's text in context, and with its nearest neighbours' beside it."""

    def among(loaded: int) -> Callable[[str], Composition]:
        def read(name: str) -> Composition:
            texts = [collection.text(one) for one in collection.company(name, loaded)]
            return in_context(reader, texts)

        return read

    most = min(_MOST_TEXTS, len(collection.names))
    return {
        str(loaded): _asked(reader, collection, among(loaded))
        for loaded in plan.loaded
        if loaded <= most
    }


def _composed(
    reader: Reader,
    collection: Collection,
    trained: Mapping[str, tuple[Tensor, Tensor]],
    loaded: int,
    arm: Arm,
    plan: CasPlan,
) -> float:
    """Exact match with each document's own cartridge and its `loaded - 1` nearest neighbours in place."""

    def beside(name: str) -> Composition:
        pairs = [trained[one] for one in collection.company(name, loaded)]
        behind = 1 + sum(keys.shape[2] for keys, _ in pairs)
        fixed = arm.offset_rule == "fixed"
        return slots(reader, pairs, plan.training.question_offset if fixed else behind)

    return _asked(reader, collection, beside)


def _whole(
    reader: Reader,
    collection: Collection,
    trained: Mapping[str, tuple[Tensor, Tensor]],
    plan: CasPlan,
) -> float:
    """Exact match with the one cartridge of the whole collection."""
    (pair,) = trained.values()
    prefix = slots(reader, [pair], plan.training.question_offset)
    return _asked(reader, collection, lambda _: prefix)


def _retrieved(
    reader: Reader,
    collection: Collection,
    trained: Mapping[str, tuple[Tensor, Tensor]],
    plan: CasPlan,
) -> dict[str, float]:
    """Answers from what retrieval brings, as cartridges, as their whole text and as its best passages, with
    what each has read when the answer begins, question included."""
    names_of = ("cartridges_em", "text_em", "passages_em", "found", "slots", "tokens")
    figures = dict.fromkeys((*names_of, "passages_tokens"), 0.0)
    items = collection.drawn.items
    for item in items:
        names = sorted(collection.found(item.question, plan.retrieved))
        pairs = [trained[name] for name in names]
        mounted = slots(reader, pairs, plan.training.question_offset)
        text = in_context(reader, [collection.text(name) for name in names])
        passages = in_context(reader, collection.passages(item.question, _PASSAGES))
        figures["cartridges_em"] += score(reader, mounted, [item])[0]
        figures["text_em"] += score(reader, text, [item])[0]
        figures["passages_em"] += score(reader, passages, [item])[0]
        figures["found"] += collection.names[item.document] in names
        question = len(reader.chat.question(item.question))
        figures["slots"] += mounted.length + question
        figures["tokens"] += text.length + question
        figures["passages_tokens"] += passages.length + question
    return {name: value / len(items) for name, value in figures.items()}


def _asked(reader: Reader, collection: Collection, prefix: Callable[[str], Composition]) -> float:
    right: list[bool] = []
    for index, name in enumerate(collection.names):
        items = [item for item in collection.drawn.items if item.document == index]
        right += score(reader, prefix(name), items)
    return sum(right) / len(right)


def claims(rows: Sequence[Mapping[str, Any]]) -> dict[str, Claim]:
    """What the rows allow to be said; a figure whose arm or number of cartridges is missing is left out."""
    wanted: dict[str, tuple[Callable[[Mapping[str, Any]], float], str | None]] = {
        "isolated_loss_at_8_points": (lambda r: _loss(r, "isolated", 8), ">= 20"),
        "icl_loss_at_8_points": (lambda r: _loss(r, "icl", 8), None),
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
        "monolithic_gain_points": (
            lambda r: 100 * (r["retrieved"]["cartridges_em"] - r["em"]["monolithic"]["all"]),
            ">= 10",
        ),
        "rag_difference_points": (
            lambda r: 100 * (r["retrieved"]["cartridges_em"] - r["retrieved"]["text_em"]),
            ">= -2",
        ),
        "rag_passages_difference_points": (
            lambda r: 100 * (r["retrieved"]["cartridges_em"] - r["retrieved"]["passages_em"]),
            ">= -2",
        ),
        "rag_passages_prompt_token_ratio": (
            lambda r: r["retrieved"]["passages_tokens"] / r["retrieved"]["slots"],
            None,
        ),
        "rag_prompt_token_ratio": (
            lambda r: r["retrieved"]["tokens"] / r["retrieved"]["slots"],
            ">= 4",
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


def large_claims(measured: Mapping[str, Any]) -> dict[str, Claim]:
    """What the large collection allows to be said."""
    peaks = [measured["peak_bytes"][size] for size in sorted(measured["peak_bytes"], key=int)]
    figures: dict[str, tuple[float, str]] = {
        "collection_tokens": (measured["tokens"], ">= 1000000"),
        "collection_documents": (measured["documents"], ">= 400"),
        "collection_memory_ratio": (peaks[-1] / peaks[0], "<= 1.1"),
        "resume_identical": (measured["resume_identical"], ">= 1"),
    }
    return {name: Claim(estimate([value]), target) for name, (value, target) in figures.items()}


def _loss(row: Mapping[str, Any], arm: str, loaded: int) -> float:
    return 100 * float(row["em"][arm]["1"] - row["em"][arm][str(loaded)])
