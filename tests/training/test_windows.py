"""Windows of self-study: whole pieces, understandable alone."""

import pytest
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
    assert windows.at(0, 1) == "# The Aldora\nThe Aldora weighs 480 tonnes."


def test_a_window_grows_with_its_budget_and_reaches_back_at_the_end() -> None:
    windows = Windows(SHEET, words)
    assert (
        windows.at(0, 10)
        == "# The Aldora\nThe Aldora weighs 480 tonnes. Its captain is Mira Tolen."
    )
    assert "Its captain" in windows.at(4, 25)


def test_a_pronoun_is_never_without_what_it_stands_for() -> None:
    windows = Windows(SHEET, words)
    assert [piece.leans for piece in split_pieces(SHEET)] == [False, True, True, False, False]
    assert windows.at(2, 1) == (
        "# The Aldora\nThe Aldora weighs 480 tonnes. Its captain is Mira Tolen. It left on 3 May."
    )
    # Further than a few sentences back nobody would read either.
    endless = (
        "The Aldora sails. " + "It carries a rather long list of dry goods to the north. " * 20
    )
    assert "The Aldora sails." not in Windows(endless, words).at(15, 1)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (
            "1. The hall is open.\n2. The bar is shut.",
            ["1. The hall is open.", "2. The bar is shut."],
        ),
        (
            "Mrs. Novak and Dr. Ott came. J. Orlen left.",
            ["Mrs. Novak and Dr. Ott came.", "J. Orlen left."],
        ),
        (
            "yarn..... Guernsey, navy\nneedles..... 3 mm",
            ["yarn..... Guernsey, navy", "needles..... 3 mm"],
        ),
        ("Q: Where is it?\nA: In Graz.", ["Q: Where is it?\nA: In Graz."]),
        (
            "Where did you learn it?\n\nIn Graz. I was ten.",
            ["Where did you learn it?\nIn Graz.", "I was ten."],
        ),
        ("船は北へ行く。 港は静か。", ["船は北へ行く。 港は静か。"]),
    ],
)
def test_no_piece_is_a_scrap(text: str, pieces: list[str]) -> None:
    assert [piece.text for piece in split_pieces(text)] == pieces


@pytest.mark.parametrize(
    ("text", "heading", "pieces"),
    [
        (
            "THE GATE\ncolour..... green\nweight..... 4 kg",
            "THE GATE",
            ["colour..... green", "weight..... 4 kg"],
        ),
        (
            "3. The gate\nIt is green.\nIt weighs 4 kg.",
            "3. The gate",
            ["It is green.", "It weighs 4 kg."],
        ),
        (
            "name,entry,value\ngate,colour,green\ngate,weight,4 kg",
            "name,entry,value",
            ["gate,colour,green", "gate,weight,4 kg"],
        ),
        (
            "| Name | Colour |\n| --- | --- |\n| Gate | green |\n| Door | red |",
            "| Name | Colour |",
            ["| Gate | green |", "| Door | red |"],
        ),
        (
            "No. 3  The gate. Colour: green. Weight: 4 kg.",
            "No. 3  The gate.",
            ["Colour: green.", "Weight: 4 kg."],
        ),
    ],
)
def test_what_rows_are_about_travels_with_them(text: str, heading: str, pieces: list[str]) -> None:
    found = split_pieces(text)
    assert [piece.text for piece in found] == pieces
    assert {piece.heading for piece in found} == {heading}
    titled = Windows(f"# House\n\n{text}", words).at(1, 1)
    assert titled == f"# House\n{heading}\n{pieces[1]}"


@pytest.mark.parametrize(
    "text",
    [
        "Serves: 12\nOven: 180 degrees",  # says something itself
        "apples\npears\nplums",  # one of a list
        "- flour\n- butter, soft",
        "Blackbird 4\nGreat tit 7",
    ],
)
def test_lines_of_their_own_are_no_headings(text: str) -> None:
    assert [piece.text for piece in split_pieces(text)] == text.split("\n")


def test_only_a_title_is_carried_along() -> None:
    opening = "The harbour board met on Tuesday and heard the report of the full session at length."
    text = f"{opening} The secretary is Anna Foo.\nThe hall is shut."
    assert Windows(text, words).at(2, 1) == "The hall is shut."
    assert Windows(f"Harbour board\n\n{text}", words).at(3, 1) == "Harbour board\nThe hall is shut."


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
