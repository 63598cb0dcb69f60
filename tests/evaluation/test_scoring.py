"""Scores as SQuAD's published script gives them on hand-made cases; estimates against known values."""

import pytest

from evaluation.scoring import exact_match, normalise, states
from evaluation.statistics import estimate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The North Gate.", "north gate"),
        ("an  apple, a pear & the plum", "apple pear plum"),
        ("Äpfel", "äpfel"),
        ("", ""),
        ("The", ""),
        ("theatre", "theatre"),
        ("19:25", "1925"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_exact_match_is_of_the_whole() -> None:
    assert exact_match("The captain is Mira Tolen.", "the captain is Mira Tolen")
    assert not exact_match("Mira Tolen", "Mira Tolen Smith")


def test_states_whole_words_only() -> None:
    assert states("The fee is 85 euros.", "85 euros")
    assert not states("The fee is 185 euros.", "85 euros")
    assert not states("That is not stated.", "85 euros")


def test_estimate() -> None:
    assert estimate([0.5]).interval is None
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.interval == pytest.approx([-0.484, 4.484], abs=1e-3)
