"""Windows of self-study: whole pieces, evenly spread, understandable alone."""

from hypothesis import given
from hypothesis import strategies as st

from training.windows import draw_windows, split_pieces

SHEET = """# The Aldora

The Aldora weighs 480 tonnes. Its captain is Mira Tolen. It left on 3 May.

## The north gate
Colour: dark green
- The gate was painted by Franz Huber.
"""


def words(text: str) -> int:
    return len(text.split())


def test_pieces_keep_their_heading() -> None:
    pieces = split_pieces(SHEET)
    assert [p.text for p in pieces] == [
        "The Aldora weighs 480 tonnes.",
        "Its captain is Mira Tolen.",
        "It left on 3 May.",
        "Colour: dark green",
        "- The gate was painted by Franz Huber.",
    ]
    assert [p.heading for p in pieces] == ["# The Aldora"] * 3 + ["## The north gate"] * 2


def test_windows_carry_title_and_heading() -> None:
    windows = draw_windows(SHEET, 5, smallest=1, largest=2, tokens=words, seed=0)
    assert "# The Aldora\n## The north gate\nColour: dark green" in windows
    assert "# The Aldora\nIt left on 3 May." in windows


def test_every_piece_is_talked_about_equally_often() -> None:
    windows = draw_windows(SHEET, 50, smallest=1, largest=1, tokens=words, seed=3)
    for piece in split_pieces(SHEET):
        assert sum(piece.text in window for window in windows) == 10


def test_same_seed_same_windows() -> None:
    first, again, other = (
        draw_windows(SHEET, 20, smallest=4, largest=12, tokens=words, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@given(st.text(max_size=600), st.integers(1, 20), st.integers(0, 3))
def test_any_text_gives_windows(text: str, count: int, seed: int) -> None:
    windows = draw_windows(text, count, smallest=3, largest=9, tokens=words, seed=seed)
    assert len(windows) == count


def test_a_single_endless_word_is_cut() -> None:
    windows = draw_windows("x" * 60_000, 3, smallest=1, largest=1, tokens=words, seed=0)
    assert all(len(window) <= 601 for window in windows)
