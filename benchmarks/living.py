"""Living collections over the real service: documents join, change and leave, and what it costs.

`cartridges reproduce living` trains a collection of the world for each seed, lets documents join it one by
one, changes some, deletes some, and asks about all of it over HTTP. Another service trains all of them
together from the same studies, for comparison; on real articles it is asked about those that are not
there, and a mixed collection shares its slots out. What was measured is kept in the working folder: the
same command goes on where it was stopped. This file knows plans, rows and claims.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.living_parts import (
    READ,
    Asker,
    abstained,
    arrive,
    asking,
    changed,
    deleted,
    scored,
    trained_whole,
    unchanged,
)
from benchmarks.misleading import misled, right_about
from benchmarks.service_process import begun_with, serving
from benchmarks.uneven import slots_shared
from benchmarks.waiting import Ledger
from evaluation.abstention import score_abstention
from evaluation.datasets.changed_world import Changed, load_changed
from evaluation.datasets.mixed_world import load_mixed
from evaluation.datasets.questions import Document
from evaluation.datasets.world import load_world
from evaluation.exam import bundled_digest, exam, file_digest
from evaluation.results import Claim, begin, earlier_rows, require_plan, write_result
from evaluation.statistics import estimate
from training.settings import TrainingSettings

Report = Callable[[str, float], None]
Row = dict[str, Any]

FIRST_SEED = 424


@dataclass(frozen=True, slots=True)
class LivingPlan:
    """How much lives: of each seed, `documents` are trained together, `joined` come later, `updated` of
    the first ones change `changes` facts each, and `deleted` others go. Of `misled` that stay, others say
    what they do not.

    `asked` questions of each document, `probes` at least about deleted ones, `open` to the collection that
    it does not answer. `mixed` letters and registers share their slots evenly and by what they tell; 0
    leaves that out. `articles` is the file of SQuAD's development set, left out where there is none.
    """

    seeds: tuple[int, ...] = tuple(range(FIRST_SEED, FIRST_SEED + 3))
    documents: int = 6
    joined: int = 3
    updated: int = 3
    deleted: int = 2
    misled: int = 2
    changes: int = 3
    asked: int = 12
    probes: int = 200
    open: int = 24
    compression: float = 10.0
    # As the comparison's: its company, its share of the usual steps.
    training: Mapping[str, Any] = field(
        default_factory=lambda: {"alone": 0.5, "distractors": 4, "joint_share": 0.6}
    )
    articles: Path | None = None
    about_articles: int = 200
    mixed: int = 4
    threads: int = 2

    def of_a_seed(self) -> dict[str, Any]:
        """What every seed is measured by, whichever seeds there are."""
        plan = asdict(self) | {"articles": self.articles and file_digest(self.articles)}
        del plan["seeds"]
        # With what the plan leaves to the defaults: another recipe's figures are not averaged with these.
        plan["training"] = TrainingSettings(**self.training).to_dict()
        return plan | exam(bundled_digest())

    def __post_init__(self) -> None:
        if self.joined < 1:
            raise ValueError("joined must be at least 1.")
        if self.updated + self.deleted > self.documents:
            raise ValueError(
                "updated and deleted are different ones of documents: make these more."
            )


def run_living(
    out: Path,
    plan: LivingPlan,
    work: Path,
    report: Report = lambda *_: None,
    *,
    more: bool = False,
    command: str = "cartridges reproduce living",
) -> dict[str, Any]:
    """Live through every seed's collection, and write living.json. With `more`, the seeds that the file
    has already are kept as they are. `command` makes the file, but for its seeds.

    Raises AnotherPlan where they, or what the working folder has, were measured by another plan.
    """
    began = begin()
    earlier = earlier_rows(out, "living", plan.of_a_seed()) if more else []
    known = {row["seed"]: row for row in earlier}
    rows: list[Row] = []
    for place, seed in enumerate(plan.seeds):

        def told(words: str, done: float, place: int = place, seed: int = seed) -> None:
            report(f"seed {seed}, {words}", (place + done) / len(plan.seeds))

        if seed in known:
            rows.append(known.pop(seed))
            continue
        folder = work / str(seed)
        require_plan(folder, plan.of_a_seed())
        kept = Ledger(folder / "parts.json", began)
        rows.append(
            {"seed": seed} | _lived(seed, plan, folder, kept, told) | {"measured": kept.made()}
        )
    rows += known.values()
    report("done", 1.0)
    return write_result(
        out,
        "living",
        command=f"{command} --seeds {len(rows)} --json",
        seeds=[row["seed"] for row in rows],
        rows=rows,
        claims=claims_of(rows, plan),
        began=began,
        plan=plan.of_a_seed(),
    )


def _lived(seed: int, plan: LivingPlan, folder: Path, kept: Ledger, report: Report) -> Row:
    """A seed's parts, by three services: one for the life itself, one for what is trained as usual beside
    it, and one that shares slots out."""
    sheets = load_changed(seed, sheets=plan.documents + plan.joined, changes=plan.changes)
    with _service(folder / "living", plan) as asker:
        row = _life(asker, seed, plan, sheets, kept, folder, _from(report, 0.0, 0.5))
    with _service(folder / "whole", plan) as asker:
        settings = TrainingSettings(**plan.training)
        row |= kept.part(
            "whole",
            lambda: _together(asker, sheets, plan, settings, _from(report, 0.5, 0.2, "together: ")),
        )
        if (path := plan.articles) is not None:
            others = asker.of("articles")
            row |= kept.part("articles", lambda: abstained(others, path, plan.about_articles, seed))
        if not plan.mixed:
            return row
        dataset = load_mixed(seed, sheets=plan.mixed, stated=plan.asked)
        mixed = asker.of("mixed")
        even = kept.part(
            "even slots",
            lambda: slots_shared(mixed, dataset, settings, _from(report, 0.7, 0.2, "even slots: ")),
        )
    begun_with(folder / "adaptive", folder / "whole", "mixed")
    training = {**plan.training, "adaptive": True}
    with _service(folder / "adaptive", replace(plan, training=training)) as asker:
        mixed, settings = asker.of("mixed"), TrainingSettings(**training)
        adaptive = kept.part(
            "adaptive slots",
            lambda: slots_shared(mixed, dataset, settings, _from(report, 0.9, 0.1, "adaptive: ")),
        )
    return row | {"shared_out": {"even": even, "adaptive": adaptive}}


def _life(
    asker: Asker,
    seed: int,
    plan: LivingPlan,
    sheets: Sequence[Changed],
    kept: Ledger,
    folder: Path,
    report: Report,
) -> Row:
    """Documents are trained together, others join, and then some change, some go and some mislead."""
    first, later = sheets[: plan.documents], sheets[plan.documents :]
    settings = TrainingSettings(**plan.training)
    row = kept.part(
        "collection",
        lambda: trained_whole(asker, _texts(first), settings, _from(report, 0.0, 0.5)),
    )
    arrived = []
    for place, sheet in enumerate(later):
        report("joining", 0.5 + 0.2 * place / len(later))
        came = kept.part(f"joining {sheet.before.id}", partial(arrive, asker, sheet))
        arrived.append(came)
    row |= {figure: [each[figure] for each in arrived] for figure in arrived[0]}
    row |= kept.part("joined", lambda: {"joined": scored(asker, sheets, plan.asked)})
    # Before any changes: what is trained together learns from the same studies.
    begun_with(folder / "whole", folder / "living", asker.collection)
    change = first[: plan.updated]
    row |= kept.part("before updates", lambda: unchanged(asker, change))
    row |= kept.part("updates", lambda: changed(asker, change, settings, _from(report, 0.7, 0.2)))
    row |= kept.part("open", lambda: _open(asker, seed, sheets, plan))
    leave = first[plan.updated :][: plan.deleted]
    stay = [*first[plan.updated + plan.deleted :], *later]
    row |= kept.part(
        "before deletions",
        lambda: {"neighbours_before": scored(asker, stay, plan.asked)["retrieved"]},
    )
    row |= kept.part("deletions", lambda: deleted(asker, leave, stay, plan.probes, plan.asked))
    report("others misled", 0.9)
    if victims := stay[: plan.misled]:
        row |= kept.part(
            "before misled", lambda: {"right_before_misleading": right_about(asker, victims)}
        )
        row |= kept.part("misled", lambda: misled(asker, victims, _texts(later)))
    return row


def _together(
    asker: Asker,
    sheets: Sequence[Changed],
    plan: LivingPlan,
    settings: TrainingSettings,
    report: Report,
) -> Row:
    """All documents trained at once, from the same studies: what joining is held to."""
    steps = trained_whole(asker, _texts(sheets), settings, report)["steps"]
    return {"whole_steps": steps, "whole": scored(asker, sheets, plan.asked)}


def _texts(sheets: Sequence[Changed]) -> list[Document]:
    return [sheet.before for sheet in sheets]


def _service(folder: Path, plan: LivingPlan) -> AbstractContextManager[Asker]:
    """Somebody who asks the real service on a folder."""
    return asking(
        serving(folder, plan.training, compression=str(plan.compression), threads=str(plan.threads))
    )


def _from(report: Report, start: float, share: float, what: str = "") -> Report:
    return lambda words, done: report(f"{what}{words}", start + share * done)


def _open(asker: Asker, seed: int, sheets: Sequence[Changed], plan: LivingPlan) -> Row:
    """Abstaining where these documents leave a question open, in mode auto."""
    drawn = load_world(seed, sheets=len(sheets), stated=1, unstated_too=4)
    unstated = [q.text for q in drawn.questions if q.kind == "unanswerable"][: plan.open]
    stated = [a.question for sheet in sheets for a in sheet.asked if not a.changed][: len(unstated)]
    quiet = [asker.ask(question)["abstained"] for question in (*unstated, *stated)]
    found = score_abstention(quiet, [True] * len(unstated) + [False] * len(stated))
    return {"world_abstention": {"precision": found.precision, "recall": found.recall}}


def claims_of(rows: Sequence[Row], plan: LivingPlan) -> dict[str, Claim]:
    """What the file says; intervals are over seeds."""

    def over(name: str, of: Callable[[Row], float | None], target: str | None = None) -> None:
        found = [value for row in rows if (value := of(row)) is not None]
        if found:
            claims[name] = Claim(estimate(found), target)

    def gap(row: Row) -> float:
        """The worst of the three ways to ask."""
        whole: dict[str, float] = row["whole"]
        joined: dict[str, float] = row["joined"]
        return max(100 * (right - joined[way]) for way, right in whole.items() if way != READ)

    def per_document(row: Row) -> float:
        """Joining's steps over joint training's, whatever share of the documents joined."""
        whole: float = row["whole_steps"] / (plan.documents + plan.joined)
        return fmean(row["join_steps"]) / whole

    claims: dict[str, Claim] = {}
    over("living_documents", lambda row: plan.documents, ">= 100")
    over("joined_documents", lambda row: plan.joined, ">= 100")
    over("updated_documents", lambda row: plan.updated, ">= 50")
    over("seconds_to_text", lambda row: fmean(row["seconds_to_text"]), "<= 1")
    over("seconds_to_draft", lambda row: fmean(row["seconds_to_draft"]), "<= 5")
    # Of one that was refused, and is read as text, as well.
    over("seconds_to_trained", lambda row: fmean(row["seconds_to_trained"]), "<= 30")
    over("join_gap_points", gap, "<= 2")
    # One that was refused is read as text, and then so is whoever stands beside it: that closes no gap.
    over("joined_published", lambda row: fmean(row["joined_published"]), ">= 0.9")
    over("joined_read_as_text", lambda row: row["joined"][READ])
    over("whole_read_as_text", lambda row: row["whole"][READ])
    over("join_step_ratio", lambda row: sum(row["join_steps"]) / row["whole_steps"], "<= 0.35")
    # Where as many join as there were, half of it is the ratio above.
    over("join_steps_per_document_ratio", per_document, "<= 0.7")
    over("changed_facts_new", lambda row: row["changed_new"], ">= 0.9")
    over("changed_facts_old", lambda row: row["changed_old"], "<= 0.02")
    over(
        "unchanged_facts_change_points",
        lambda row: 100 * (row["unchanged_after"] - row["unchanged_before"]),
        ">= -2",
    )
    over("update_step_ratio", lambda row: row["update_step_ratio"], "<= 0.5")
    over("deleted_probes", lambda row: row["probes"], ">= 200")
    over("deleted_facts_revealed", lambda row: row["revealed"], "<= 0")
    over(
        "neighbours_after_deletion_points",
        lambda row: 100 * (row["neighbours_after"] - row["neighbours_before"]),
    )
    over("adaptive_gain_points", _adaptive_gain, ">= 5")
    over("adaptive_gain_of_cartridges_points", _gain_of_cartridges)
    over("adaptive_bytes_ratio", _adaptive_bytes, "<= 1")
    over("misleading_noticed", lambda row: row.get("misleading_noticed"))
    over("honest_noticed", lambda row: row.get("honest_noticed"))
    for way in ("auto", "rag"):
        over(f"misled_{way}", partial(_within, "misled", way))
    for figure in ("precision", "recall"):
        for name, key in (("world_abstain", "world_abstention"), ("abstain", "article_abstention")):
            over(f"{name}_{figure}", partial(_within, key, figure), ">= 0.9")
    return claims


def _adaptive_gain(row: Row) -> float | None:
    found = row.get("shared_out")
    return 100 * (found["adaptive"]["right"] - found["even"]["right"]) if found else None


def _gain_of_cartridges(row: Row) -> float | None:
    """The gain over documents that have a cartridge either way: what is read as text is no slot's doing."""
    found = row.get("shared_out")
    if not found:
        return None
    even, adaptive = found["even"], found["adaptive"]
    both = [id for id in even["slots"] if id in adaptive["slots"]]
    if not both:
        return None
    right = (fmean(way["right_by_document"][id] for id in both) for way in (adaptive, even))
    return 100 * (next(right) - next(right))


def _adaptive_bytes(row: Row) -> float | None:
    """Of what is served: a document that failed its check has no bytes, whatever it was given."""
    found = row.get("shared_out")
    return found["adaptive"]["bytes"] / max(1, found["even"]["bytes"]) if found else None


def _within(key: str, figure: str, row: Row) -> float | None:
    found: float | None = row.get(key, {}).get(figure)
    return found
