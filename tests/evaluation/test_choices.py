"""Which option an answer names: letters, texts, and what is invalid."""

import pytest

from evaluation.choices import choice, score_choices

CITIES = ("Paris", "Rome", "The Hague", "Rome in winter", "None of these")


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("B", 1),
        ("b", 1),
        ("(b)", 1),
        ("C.", 2),
        ("**D**", 3),
        ("B. Rome", 1),
        ("B) because the text says so, not Paris", 1),
        ("A: Paris", 0),
        ("The answer is C.", 2),
        ("The correct answer is (d), since it snows.", 3),
        ("Answer: e", 4),
        ("I choose option B because it fits", 1),
        ("I think it's B.", 1),
        ("It is a town in winter.", None),
        ("the hague", 2),
        ("It must be Rome.", 1),
        ("It is Rome in winter.", 3),
        ("", None),
        ("F", None),
        ("B. Paris", None),
        ("Paris or Rome", None),
        ("The answer is A. No, the answer is B.", None),
        ("A city that I do not know", None),
        ("The answer is a city.", None),
        ("I do not know", None),
    ],
)
def test_what_an_answer_names(answer: str, place: int | None) -> None:
    assert choice(answer, CITIES) == place


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("A. Smith wrote it.", 1),
        ("It is A. Smith.", 1),
        ("B. Jones", 0),
        ("A", 0),
        ("A. B. Jones", 0),
        ("(b) A. Smith", 1),
        ("C", 2),
        ("The answer is C.", 2),
        ("The answer is C, not A. Smith", 2),
        ("The answer is A. Smith, not C", 1),
    ],
)
def test_an_initial_is_no_letter_of_an_option(answer: str, place: int) -> None:
    assert choice(answer, ("B. Jones", "A. Smith", "Carla Weber")) == place


def test_options_that_are_lettered_are_told_by_their_letters() -> None:
    lettered = ("A. Paris", "B. Rome", "C. Oslo")
    for said in (
        "B",
        "B. Rome",
        "B. because the text says so",
        "B. The capital of Italy, not Paris",
    ):
        assert choice(said, lettered) == 1


def test_options_with_one_text_cannot_be_told_apart_by_it() -> None:
    assert choice("yes", ("Yes", "yes!")) is None
    assert choice("A", ("Yes", "yes!")) == 0


def test_invalid_answers_are_wrong_and_counted() -> None:
    found = score_choices([0, 1, None, None], [0, 2, 1, 1])
    assert (found.right, found.asked, found.invalid, found.accuracy) == (1, 4, 2, 0.25)
    assert score_choices([], []).accuracy is None
    with pytest.raises(ValueError):
        score_choices([0], [])
