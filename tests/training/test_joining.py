"""A document joins others on a tiny random reader: who learns, who stays, and who is judged harmful."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.reader import Reader, load_reader
from tests.models import TEXT, studied_questions, write_tiny_model
from training import joining, neighbourhood, studying
from training.collection import Text
from training.examples import StudyExample
from training.joining import Joined, join
from training.joint import Frozen, JointTraining
from training.neighbourhood import Known, Serving, judged
from training.pipeline import Distilled, first_slots
from training.revision import Revision
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings

SETTINGS = TrainingSettings(
    min_slots=3,
    top_k=4,
    batch=4,
    min_steps=6,
    max_steps=6,
    question_offset=64,
    warm_up=2,
    checkpoint_every=2,
    held_out=2,
    beside=2,
    accept_at=0.0,
    harm=1.0,
)
NAMES = ("d0", "d1", "d2")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture(autouse=True)
def studies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A random reader asks nothing: its study is of given questions."""
    studied: list[str] = []

    def study(
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        report: Callable[[float], None],
        since: Revision | None = None,
        folder: Path | None = None,
    ) -> list[StudyExample]:
        studied.append(text[:11])
        report(0.5)
        asked = [f"Who painted gate {number}?" for number in range(12)]
        made = studied_questions(reader, text, asked, max_tokens=3, top_k=4)
        return [replace(e, question=q) for e, q in zip(made, asked, strict=True)]

    monkeypatch.setattr(studying, "study", study)
    return studied


class House:
    """Documents that serve, each with its study kept."""

    def __init__(self, reader: Reader, folder: Path, names: Sequence[str] = NAMES) -> None:
        self.reader, self.folder = reader, folder
        self.serving = {name: self._served(name) for name in names}
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def text(self, name: str) -> Text:
        return Text(name, f"digest of {name}", f"Document {name}. {TEXT}", str(self.folder / name))

    def company(self, names: Sequence[str], count: int) -> list[Serving]:
        self.asked.append((tuple(names), count))
        there = [name for name in dict.fromkeys((*names, *self.serving)) if name in self.serving]
        return [self.serving[name] for name in there[:count]]

    def join(
        self,
        folder: Path,
        settings: TrainingSettings = SETTINGS,
        progress: Callable[[Progress], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        before: Serving | None = None,
        found: Sequence[str] = ("d1", "new", "d0"),
    ) -> Joined | None:
        return join(
            self.reader,
            self.text("new"),
            self.company,
            settings,
            workdir=folder,
            find=lambda question: found,
            before=before,
            progress=progress,
            cancelled=cancelled,
        )

    def _served(self, name: str) -> Serving:
        text = self.text(name)
        studying.kept_study(
            self.reader,
            text.text,
            SETTINGS,
            self.folder / f"{name}.parquet",
            lambda _: None,
            studies=text.kept,
        )
        return Serving(
            text, f"cartridge of {name}", *first_slots(self.reader, text.text, 4, SETTINGS)
        )


@pytest.fixture
def house(reader: Reader, tmp_path: Path) -> House:
    return House(reader, tmp_path / "house")


def equal(one: Distilled, two: Distilled) -> bool:
    return torch.equal(one.keys, two.keys) and torch.equal(one.values, two.values)


def test_a_newcomer_learns_beside_those_whom_retrieval_takes_for_it(
    house: House, tmp_path: Path
) -> None:
    said: list[Progress] = []
    joined = house.join(tmp_path, progress=said.append)
    assert joined is not None
    assert house.asked == [((), 1), (("d1", "d0"), SETTINGS.join_company)]
    figures = joined.distilled.figures
    assert (figures["neighbours"], figures["beside"], figures["conversations"]) == (2, 2, 10)
    assert joined.distilled.recipe["joined"] is True
    assert joined.distilled.keys.dtype == torch.float32
    assert [each.done for each in said] == sorted(each.done for each in said)
    assert {each.stage for each in said} >= {"self-study", "joining", "check"}


def test_frozen_neighbours_stand_beside_those_whom_retrieval_takes_for_them(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their questions' hard distractors; the newcomer is among those who are brought."""
    seen: dict[str, tuple[str, ...]] = {}

    def training(*arguments: Any, frozen: Sequence[Frozen], **named: Any) -> JointTraining:
        seen.update({each.name: each.neighbours for each in frozen})
        return JointTraining(*arguments, frozen=frozen, **named)

    monkeypatch.setattr(joining, "JointTraining", training)
    house.join(tmp_path)
    assert seen == {"d0": ("d1", "new"), "d1": ("new", "d0"), "d2": ("d1", "new", "d0")}


def test_a_killed_run_ends_as_one_that_was_not(
    house: House, studies: list[str], tmp_path: Path
) -> None:
    whole = house.join(tmp_path / "a")
    stopping = iter([False] * 8 + [True] * 10)
    studies.clear()
    with pytest.raises(Cancelled):
        house.join(tmp_path / "b", cancelled=lambda: next(stopping))
    # Retrieval brings others by now, because some have come: what has begun ends as it began.
    again = house.join(tmp_path / "b", found=("d0", "d2"))
    assert whole is not None
    assert again is not None
    assert equal(whole.distilled, again.distilled)
    assert studies == []  # of the newcomer too, one is kept


def test_nobody_to_join_is_no_joining(reader: Reader, tmp_path: Path, studies: list[str]) -> None:
    assert House(reader, tmp_path / "house", ()).join(tmp_path) is None
    assert studies == []  # not even begun


def test_too_short_a_text_is_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="too short"):
        join(
            house.reader,
            Text("short", "s", "No"),
            house.company,
            SETTINGS,
            workdir=tmp_path,
            find=lambda _: [],
        )


def test_neighbours_who_lose_learn_along(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d1 is told to lose until it has learned; only d1 is replaced, and it has changed."""
    asked: list[str] = []
    untouched = house.serving["d1"].keys.clone()

    def agreed(self: object, each: Known, *, without_newcomer: bool = False) -> float:
        asked.append(each.text.name)
        if each.text.name != "d1" or without_newcomer:
            return 1.0
        return 0.5 if asked.count("d1") <= 2 else 0.9

    monkeypatch.setattr(neighbourhood.Neighbourhood, "agreed", agreed)
    monkeypatch.setattr(neighbourhood.Neighbourhood, "alone", lambda *_: 1.0)
    said: list[Progress] = []
    joined = house.join(tmp_path, replace(SETTINGS, harm=0.2), said.append)
    assert joined is not None
    (relearned,) = joined.relearned
    assert (relearned.text, relearned.replaces) == (house.text("d1"), "cartridge of d1")
    assert not torch.equal(relearned.distilled.keys, untouched)
    assert torch.equal(house.serving["d1"].keys, untouched)
    assert joined.distilled.passed
    assert joined.distilled.figures["worst_loss"] == pytest.approx(0.1)
    assert "replay" in {each.stage for each in said}
    # Without a budget for it, nobody does, and the loss stands.
    asked.clear()
    alone = house.join(tmp_path, replace(SETTINGS, harm=0.2, replay_most=0))
    assert alone is not None
    assert alone.relearned == ()
    assert not alone.distilled.passed
    assert "d1 gives 50%" in alone.distilled.reason


def test_neighbours_without_a_study_stand_beside_and_are_not_asked(
    reader: Reader, house: House, tmp_path: Path
) -> None:
    house.serving = {
        name: replace(each, text=replace(each.text, studies=""))
        for name, each in house.serving.items()
    }
    joined = house.join(tmp_path)
    assert joined is not None
    assert joined.distilled.figures["neighbours"] == 0
    assert joined.distilled.figures["beside"] == 2


def test_what_takes_too_much_from_a_neighbour_does_not_pass() -> None:
    distilled = Distilled(
        keys=torch.zeros(1),
        values=torch.zeros(1),
        document_tokens=1,
        position_rule=None,  # type: ignore[arg-type]
        initialiser="spread",
        recipe={},
        figures={"held_out": 2},
        passed=True,
        reason="fine",
    )
    settings = replace(SETTINGS, harm=0.2)
    before, after = {"a": 0.9, "b": 0.5}, {"a": 0.65, "b": 0.6}
    refused = judged(distilled, before, after, settings)
    assert not refused.passed
    assert "a gives 65% of its held-out answers instead of 90%" in refused.reason
    kept = judged(distilled, before, {"a": 0.71, "b": 0.1 + 0.2}, settings)
    assert kept.passed
    assert kept.figures["worst_loss"] == pytest.approx(0.2)
    # What does not pass for itself is not excused by leaving others in peace.
    assert not judged(replace(distilled, passed=False), before, before, settings).passed
    assert judged(distilled, {}, {}, settings).figures["neighbours"] == 0


def test_joining_reads_what_is_kept_only(house: House, tmp_path: Path) -> None:
    """Where no study is kept a document stands beside, and no more; one of another recipe will do."""
    other = replace(SETTINGS, seed=5)
    joined = house.join(tmp_path / "a", other)
    assert joined is not None
    assert joined.distilled.figures["neighbours"] == 2
    for study in house.folder.glob("d[!1]/*.parquet"):
        study.unlink()
    joined = house.join(tmp_path / "b", other)
    assert joined is not None
    assert joined.distilled.figures["neighbours"] == 1


def test_a_changed_document_starts_from_what_it_was(house: House, tmp_path: Path) -> None:
    was = first_slots(house.reader, "Something that it said before, of some length.", 5, SETTINGS)
    anew = house.join(tmp_path / "a")
    joined = house.join(tmp_path / "b", before=Serving(house.text("new"), "former", *was))
    assert anew is not None
    assert joined is not None
    assert joined.distilled.keys.shape[2] == 5
    assert (anew.distilled.figures["steps"], joined.distilled.figures["steps"]) == (6, 3)
    # And it is close to that still.
    assert (joined.distilled.keys - was[0]).abs().mean() < was[0].abs().mean()


def test_what_a_neighbour_loses_for_itself_counts_too(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d1 loses in company, learns along, and is whole again in company but not alone."""
    agreed, alone = iter([1.0, 0.5, 1.0, 1.0, 1.0, 1.0]), iter([1.0, 0.6])
    monkeypatch.setattr(neighbourhood.Neighbourhood, "agreed", lambda *_, **__: next(agreed))
    monkeypatch.setattr(neighbourhood.Neighbourhood, "alone", lambda *_: next(alone))
    joined = house.join(tmp_path, replace(SETTINGS, harm=0.2))
    assert joined is not None
    assert joined.distilled.figures["worst_loss"] == pytest.approx(0.4)
    assert not joined.distilled.passed


def test_among_others_it_is_another_run(house: House, tmp_path: Path) -> None:
    """A neighbour that was replaced since the run was stopped: nothing of before is gone on with."""
    stopping = iter([False] * 8 + [True] * 10)
    with pytest.raises(Cancelled):
        house.join(tmp_path / "a", cancelled=lambda: next(stopping))
    house.serving["d1"] = replace(
        house.serving["d1"], cartridge="another", keys=house.serving["d1"].keys * 1.5
    )
    resumed = house.join(tmp_path / "a")
    anew = house.join(tmp_path / "b")
    assert resumed is not None
    assert anew is not None
    assert equal(resumed.distilled, anew.distilled)


@pytest.mark.parametrize("before", [1.0, 0.4])
def test_a_neighbour_that_passed_has_to_pass_again_and_others_are_held_to_what_they_were(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: float
) -> None:
    agreed = iter([before, before / 2, 1.0, 1.0, before, 1.0])  # d1 loses and is mended
    monkeypatch.setattr(neighbourhood.Neighbourhood, "agreed", lambda *_, **__: next(agreed))
    monkeypatch.setattr(neighbourhood.Neighbourhood, "alone", lambda *_: 1.0)
    checked = neighbourhood.Neighbourhood.checked

    def refusing(self: neighbourhood.Neighbourhood, each: Known, *rest: Any) -> Distilled:
        found = checked(self, each, *rest)
        if each.text.name == "d1":
            return replace(found, passed=False, reason="too few are right")
        return replace(found, passed=True)

    monkeypatch.setattr(neighbourhood.Neighbourhood, "checked", refusing)
    joined = house.join(tmp_path, replace(SETTINGS, harm=0.2, accept_at=0.5))
    assert joined is not None
    (along,) = joined.relearned
    assert along.text.name == "d1"
    if before > 0.5:
        assert not joined.distilled.passed
        assert joined.distilled.reason == "d1, which learned along: too few are right."
    else:
        assert joined.distilled.passed
        assert along.distilled.passed
