"""A changed document's study: what still holds stays, what does not goes, and what is new is asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.reader import Reader
from tests.bundled import needs_a_reader_that_reads
from tests.models import studied_questions
from training import studying
from training.examples import StudyExample
from training.revision import Revision, revision
from training.selfstudy import study
from training.settings import TrainingSettings
from training.studying import kept_study, split_study

BEFORE = """# The garden flat

The boiler of the garden flat was serviced by Franz Huber.
The rent of the garden flat is 740 euros.
The garden flat has 3 rooms.
The owner of the garden flat is Agnes Tilmann.
"""
AFTER = BEFORE.replace("Franz Huber", "Olga Brandt")
QUESTIONS = (
    "Who serviced the boiler of the garden flat?",
    "What is the rent of the garden flat?",
    "How many rooms has the garden flat?",
    "Who is the owner of the garden flat?",
)
SETTINGS = TrainingSettings(held_out=4, batch=4)


def asked(reader: Reader, text: str) -> list[StudyExample]:
    made = studied_questions(reader, text, QUESTIONS, max_tokens=24)
    return [replace(e, question=q) for e, q in zip(made, QUESTIONS, strict=True)]


@needs_a_reader_that_reads
def test_only_what_the_change_made_wrong_is_dropped(exact_reader: Reader) -> None:
    told: list[float] = []
    found = revision(
        exact_reader, AFTER, BEFORE, asked(exact_reader, BEFORE), SETTINGS, told.append
    )
    assert found is not None
    assert [each.question for each in found.kept] == [*QUESTIONS[1:]]
    # The first of the earlier examples was the one held out, and it is gone.
    assert (found.held_out, found.covered) == (0, frozenset({1, 2, 3}))
    assert told == sorted(told)
    assert told[-1] == 1.0
    # Where the sentences only stand elsewhere, everything holds.
    title, *facts = BEFORE.strip().split("\n")[0:1] + BEFORE.strip().split("\n")[2:]
    moved = "\n\n".join([title, *reversed(facts)])
    same = revision(exact_reader, moved, BEFORE, asked(exact_reader, BEFORE), SETTINGS)
    assert same is not None
    assert len(same.kept) == len(QUESTIONS)
    assert same.covered == frozenset(range(4))


def test_of_another_text_nothing_is_of_use(exact_reader: Reader) -> None:
    other = "# The ferry\n\nThe ferry was painted green.\nThe garden flat has 3 rooms.\nIt is old."
    assert revision(exact_reader, other, BEFORE, asked(exact_reader, BEFORE), SETTINGS) is None


@needs_a_reader_that_reads
def test_what_is_new_is_asked_about(exact_reader: Reader) -> None:
    """Sixteen questions in all, fourteen of which are still answered: the rest is about the new line."""
    settings = replace(
        SETTINGS, min_conversations=12, max_conversations=12, rounds=2, generation_batch=16
    )
    still = [
        replace(asked(exact_reader, BEFORE)[1], question=f"What is the rent, number {number}?")
        for number in range(14)
    ]
    since = Revision(tuple(still), held_out=3, covered=frozenset({1, 2, 3}))
    found = study(exact_reader, AFTER, settings, lambda _: None, since)
    new = [each for each in found if each.question not in {e.question for e in still}]
    assert len(found) > len(still)
    said = [exact_reader.decode(each.answer) for each in new]
    assert any("Olga Brandt" in answer for answer in said)
    # Held out are those that were so before, as many as there is room for, and new ones.
    held_out, learned = split_study(found, settings)
    assert {each.question for each in held_out} & {each.question for each in still[:2]}
    assert {each.question for each in still[3:]} <= {each.question for each in learned}


@needs_a_reader_that_reads
def test_what_was_learned_is_not_what_the_next_version_is_checked_by(exact_reader: Reader) -> None:
    """Though nothing is new to ask about, and hardly anything was held out."""
    settings = replace(SETTINGS, min_conversations=12, max_conversations=12, held_out=4, rounds=2)
    still = [
        replace(asked(exact_reader, BEFORE)[1], question=f"What is the rent, number {number}?")
        for number in range(14)
    ]
    since = Revision(tuple(still), held_out=1, covered=frozenset(range(9)))
    found = study(exact_reader, BEFORE, settings, lambda _: None, since)
    held_out, learned = split_study(found, settings)
    assert len(held_out) == 4
    assert not {each.question for each in held_out} & {each.question for each in still[1:]}
    assert {each.question for each in still[1:]} <= {each.question for each in learned}


def test_the_next_version_begins_with_what_the_last_one_knew(
    exact_reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Revision | None] = []

    def made(
        reader: Reader,
        text: str,
        settings: TrainingSettings,
        report: Callable[[float], None],
        since: Revision | None = None,
        folder: Path | None = None,
    ) -> list[StudyExample]:
        seen.append(since)
        report(1.0)
        return [*asked(reader, BEFORE)] * 2

    monkeypatch.setattr(studying, "study", made)
    told: list[float] = []
    for number, text in enumerate((BEFORE, AFTER, BEFORE, "Something else. It is short.")):
        kept_study(
            exact_reader,
            text,
            SETTINGS,
            tmp_path / f"{number}.parquet",
            told.append,
            studies=tmp_path / "kept",
        )
    first, second, third = seen  # the third was found as it had been kept
    assert first is None
    assert isinstance(second, Revision)
    assert third is None  # too little of it was there before
    # Another recipe's study is another thing.
    seen.clear()
    kept_study(
        exact_reader,
        AFTER,
        replace(SETTINGS, seed=7),
        tmp_path / "seed.parquet",
        told.append,
        studies=tmp_path / "kept",
    )
    assert seen == [None]
