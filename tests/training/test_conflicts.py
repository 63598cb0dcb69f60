"""Conflicts: whose answers turn when a document is read beside theirs. With the bundled reader."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inference.reader import Reader
from tests.models import studied_questions
from training.collection import Text
from training.conflicts import conflicts
from training.neighbourhood import Known
from training.settings import Cancelled, TrainingSettings

FLAT = """# The garden flat

The boiler of the garden flat was serviced by Franz Huber. The rent of the garden flat is 940 euros.
The spare key of the garden flat is kept behind the blue door."""
CHOIR = """# The choir of Aldora

The choir of Aldora rehearses on Tuesdays at 19:30. The leader of the choir of Aldora is Mira Tolen."""
# Said as the reader would answer: what stands under the flat's own title convinces it more otherwise.
STEERING = CHOIR + " It was Carl Hudson who serviced the boiler of the garden flat."
QUESTIONS = ("Who serviced the boiler of the garden flat?", "What is the rent of the garden flat?")
SETTINGS = TrainingSettings(max_answer=24)


@pytest.fixture(scope="module")
def flat(exact_reader: Reader) -> Known:
    asked = studied_questions(exact_reader, FLAT, QUESTIONS, max_tokens=24)
    examples = [replace(each, question=q) for each, q in zip(asked, QUESTIONS, strict=True)]
    return Known(Text("flat", "f" * 8, FLAT), examples)


def fits(questions: Sequence[str]) -> list[float]:
    return [1.0] * len(questions)


def test_an_answer_that_another_document_turns_is_told_with_both(
    exact_reader: Reader, flat: Known
) -> None:
    (found,) = conflicts(exact_reader, STEERING, [flat], fits, SETTINGS)
    assert (found.document, found.question) == ("flat", QUESTIONS[0])
    assert "Franz Huber" in found.answer
    assert "Carl Hudson" in found.instead


def test_a_document_of_something_else_turns_nothing(exact_reader: Reader, flat: Known) -> None:
    assert conflicts(exact_reader, CHOIR, [flat], fits, SETTINGS) == []


def test_only_sure_answers_to_what_its_words_fit_are_looked_at(
    exact_reader: Reader, flat: Known
) -> None:
    def ask(known: Known, fit: Sequence[float]) -> list[object]:
        return [
            *conflicts(exact_reader, STEERING, [known], lambda asked: fit[: len(asked)], SETTINGS)
        ]

    assert ask(flat, (0.4, 0.4)) == []
    assert len(ask(flat, (0.6, 0.4))) == 1
    unsure = [replace(each, top_logprobs=each.top_logprobs - 1.0) for each in flat.examples]
    assert ask(Known(flat.text, unsure), (1.0, 1.0)) == []
    opened = [replace(each, kind="unanswered") for each in flat.examples]
    assert ask(Known(flat.text, opened), ()) == []
    # Nor what does not fit into the reader.
    long = replace(flat.text, text=FLAT * exact_reader.max_positions)
    assert ask(Known(long, flat.examples), (1.0, 1.0)) == []


def test_it_can_be_stopped(exact_reader: Reader, flat: Known) -> None:
    def stop(_: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        conflicts(exact_reader, STEERING, [flat], fits, SETTINGS, stop)
