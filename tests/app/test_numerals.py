"""Numbers that an answer cuts off, and what is said of them."""

import pytest

from app.numerals import cut_numerals

TEXT = """The liability cap is 250,000 euros and the deposit 8.500 euros. Call 0800 445 221.
The lease of 4 May 2018 has 12 pages; the roof is 3.5 m high. Article 7. See 1'200 and 40."""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The liability cap is 250.", [("250", "250,000")]),
        ("The deposit is 8.", [("8", "8.500")]),
        ("It is 0800 445.", [("0800 445", "0800 445 221")]),
        ("It is 250,000 euros, and 12 pages.", []),
        ("On 4 May 2018; article 7.", []),
        ("The roof is 3 m high.", [("3", "3.5")]),
        ("40, and 1.", [("1", "1'200")]),
        ("It is 25.", []),  # not the beginning of a group: another number altogether
        ("It is 99.", []),
        ("Nothing.", []),
    ],
)
def test_numbers_that_go_on_in_the_text(answer: str, expected: list[tuple[str, str]]) -> None:
    assert list(cut_numerals(answer, [TEXT])) == expected


def test_the_shortest_number_that_goes_on_is_told_whatever_stands_between() -> None:
    text = "; ".join(f"{n},000,000" for n in range(2_000)) + "; 7,5 and 7.500"
    assert list(cut_numerals("7, 8 and 1,000", [text])) == [
        ("7", "7,5"),
        ("8", "8,000,000"),
        ("1,000", "1,000,000"),
    ]


def test_no_text_cuts_nothing() -> None:
    assert list(cut_numerals("It is 250.", [])) == []
