"""Windows of self-study: whole pieces, understandable alone."""

from hypothesis import given
from hypothesis import strategies as st

from training.windows import Windows, split_pieces

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
    windows = Windows(SHEET, words)
    assert windows.at(3, 2) == "# The Aldora\n## The north gate\nColour: dark green"
    assert windows.at(2, 1) == "# The Aldora\nIt left on 3 May."


def test_a_window_grows_with_its_budget_and_reaches_back_at_the_end() -> None:
    windows = Windows(SHEET, words)
    assert (
        windows.at(0, 10)
        == "# The Aldora\nThe Aldora weighs 480 tonnes. Its captain is Mira Tolen."
    )
    assert "Its captain" in windows.at(4, 25)


@given(st.text(max_size=600), st.integers(1, 40))
def test_any_text_gives_windows_that_hold_their_first_piece(text: str, budget: int) -> None:
    windows = Windows(text, words)
    pieces = split_pieces(text)
    assert len(windows) == max(1, len(pieces))
    for start, piece in enumerate(pieces):
        assert piece.text in windows.at(start, budget)


def test_a_single_endless_word_is_cut() -> None:
    windows = Windows("x" * 60_000, words)
    assert all(len(windows.at(start, 1)) <= 601 for start in range(len(windows)))
