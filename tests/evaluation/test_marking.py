"""Marks of each kind of question, and their summary."""

import unicodedata

import pytest

from evaluation.datasets.questions import Question
from evaluation.marking import mark, mark_all, summary

SPAN = Question("s", "Who?", ("Café Ann", "Ann"), "span")
FREE = Question("f", "Why?", ("because the cat sat",), "free")
OPEN = Question("u", "When?", (), "unanswerable")
PICK = Question("c", "Which?", ("Rome",), "choice", options=("Paris", "Rome"), gold_option=1)
DISPUTED = Question("d", "How?", ("by train", "Unanswerable"), "span")


def test_spans() -> None:
    assert mark(SPAN, " " + unicodedata.normalize("NFD", "the café Ann!")).correct
    half = mark(SPAN, "Ann Smith")
    assert (half.correct, half.f1, half.rouge) == (False, pytest.approx(2 / 3), None)
    quiet = mark(SPAN, "That is not stated.")
    assert (quiet.correct, quiet.f1, quiet.abstained) == (False, 0.0, True)


def test_a_gold_that_reads_like_abstaining_is_an_answer() -> None:
    found = mark(Question("q", "Which state?", ("unknown",), "span"), "Unknown.")
    assert (found.correct, found.abstained, found.unanswerable) == (True, False, False)
    assert not mark(Question("q", "Which state?", ("unknown",), "span"), "not stated").correct


@pytest.mark.parametrize("gold", ["A", "The", "+"])
def test_a_gold_of_which_normalisation_leaves_nothing_is_still_an_answer(gold: str) -> None:
    asked = Question("q", "Which grade?", (gold,), "span")
    assert mark(asked, f"{gold}.").correct
    assert not mark(asked, "That is not stated.").correct
    assert not mark(asked, "B").correct
    assert mark(asked, gold).unanswerable is False


def test_free_answers_have_overlap_too() -> None:
    found = mark(FREE, "because the cats sat")
    assert found.rouge is not None
    assert found.rouge.rouge_l == 1.0
    assert found.chrf is not None
    assert 0 < found.chrf < 1
    quiet = mark(FREE, "The text does not say because of a cat.")
    assert quiet.rouge is not None
    assert (quiet.rouge.rouge1, quiet.chrf) == (0.0, 0.0)


def test_unanswerable_questions() -> None:
    quiet = mark(OPEN, "I don't know")
    assert (quiet.correct, quiet.f1, quiet.abstained, quiet.unanswerable) == (True, 1.0, True, True)
    loud = mark(OPEN, "In May")
    assert (loud.correct, loud.f1, loud.abstained) == (False, 0.0, False)


def test_annotators_who_disagree() -> None:
    assert mark(DISPUTED, "unanswerable").correct
    assert mark(DISPUTED, "by train").correct
    assert mark(DISPUTED, "by train").unanswerable is None
    assert not mark(DISPUTED, "by car").correct


def test_choices() -> None:
    assert mark(PICK, "B").correct
    wrong, invalid, quiet = (mark(PICK, answer) for answer in ("Paris", "either", "I do not know"))
    assert (wrong.correct, wrong.invalid) == (False, False)
    assert (invalid.correct, invalid.invalid, invalid.abstained) == (False, True, False)
    assert (quiet.invalid, quiet.abstained) == (True, True)


def test_the_summary_by_hand() -> None:
    questions = [SPAN, SPAN, OPEN, OPEN, PICK, PICK, DISPUTED]
    answers = ["Ann", "not stated", "not stated", "May", "B", "either", "by train"]
    found = summary(mark_all(questions, answers))
    assert found["questions"] == 7
    assert found["exact_match"] == found["token_f1"] == pytest.approx(3 / 5)
    assert (found["accuracy"], found["choices"], found["invalid"]) == (0.5, 2, 1)
    assert (found["abstained"], found["abstention_precision"]) == (2, 0.5)
    assert (found["abstention_recall"], found["abstention_f1"]) == (0.5, 0.5)
    assert found["rouge_l"] is None
    assert found["chrf"] is None


def test_nothing_to_summarise() -> None:
    assert summary([])["exact_match"] is None
    with pytest.raises(ValueError):
        mark_all([SPAN], [])
