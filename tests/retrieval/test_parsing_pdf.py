"""PDF uploads: text with pages and sections, and everything that is refused."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PageObject

from retrieval import deadline
from retrieval.errors import DocumentRefused
from retrieval.marks import Mark, mark_at
from retrieval.parsing import parse
from tests.upload_files import make_docx, make_pdf, make_pdf_of

PAGES = [
    "The house book\nOf the (garden) flat.",
    "",
    "2 Heating\nThe boiler was\nserviced by Größe.",
]
BOOK = make_pdf(PAGES, title="The house book", outline=[("House", 0), ("Heating", 2)])


def refused(data: bytes, filename: str | None = "a.pdf", max_bytes: int = 4_000_000) -> str:
    with pytest.raises(DocumentRefused) as caught:
        parse(data, filename, max_bytes=max_bytes)
    assert caught.value.reason.endswith(".")
    return caught.value.code


@pytest.mark.parametrize("name", ["book.pdf", "book.txt", "book.docx", "book", None])
def test_pages_come_with_their_numbers_and_sections_under_any_name(name: str | None) -> None:
    parsed = parse(BOOK, name)
    assert parsed.title == "The house book"
    assert parsed.text == (
        "The house book\nOf the (garden) flat.\n\n2 Heating\nThe boiler was\nserviced by Größe."
    )
    second = parsed.text.index("2 Heating")
    assert parsed.marks == (Mark(0, 1, "House"), Mark(second, 3, "Heating"))
    assert mark_at(parsed.marks, len(parsed.text) - 1).page == 3


def test_a_heading_within_a_page_begins_its_section_there() -> None:
    pages = ["Before all.\nOne\nFirst  thing.\nTwo\nSecond thing.", "It goes on."]
    outline = [("One", 0), ("Nowhere to be found", 0), ("Two", 0)]
    parsed = parse(make_pdf(pages, outline=outline), "a.pdf")
    places = {parsed.text[mark.start :].split("\n")[0]: mark for mark in parsed.marks}
    assert [(text, mark.page, mark.section) for text, mark in places.items()] == [
        ("Before all.", 1, None),
        ("One", 1, "One"),
        ("Two", 1, "Two"),
        ("It goes on.", 2, "Two"),
    ]


def test_a_sentence_runs_on_over_the_end_of_a_page() -> None:
    parsed = parse(make_pdf(["It was serviced", "by Franz Huber.", "Then it ended."]), "a.pdf")
    assert parsed.text == "It was serviced\nby Franz Huber.\n\nThen it ended."


@pytest.mark.parametrize("title", [None, "Microsoft Word - b.doc", "Untitled-1", "b.docx", "  "])
def test_a_title_that_no_person_gave_does_not_count(title: str | None) -> None:
    assert parse(make_pdf(["Short line\nmore"], title=title), "a.pdf").title == "Short line"


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_a_password_is_needed_or_not(algorithm: str) -> None:
    assert refused(make_pdf(["secret"], password="x", algorithm=algorithm)) == "encrypted"
    opened = make_pdf(["Not to be printed."], password="", algorithm=algorithm)
    assert parse(opened, "a.pdf").text == "Not to be printed."


@pytest.mark.parametrize("pages", [[""], ["", ""], []])
def test_pages_without_text_are_refused(pages: list[str]) -> None:
    assert refused(make_pdf(pages)) == "no_text"


def test_bombs_are_refused_before_they_unpack() -> None:
    began = time.monotonic()
    assert refused(make_pdf_of([b" " * 100_000_000])) == "too_large"
    assert refused(make_pdf_of([b"BT ET " * 400_000])) == "too_large"
    assert refused(make_pdf_of([b"[" * 10_000])) == "damaged"
    assert refused(make_pdf(["x"] * 2001)) == "too_large"
    assert time.monotonic() - began < 20


def test_text_beyond_the_limit_is_refused_where_it_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    extract = PageObject.extract_text
    monkeypatch.setattr(
        PageObject, "extract_text", lambda *a, **k: read.append(1) or extract(*a, **k)
    )
    data = make_pdf([f"This is page {number}. " * 20 for number in range(100)])
    assert parse(data, "a.pdf").marks[-1].page == 100
    assert len(read) == 100
    read.clear()
    line = make_pdf_of([b"BT /F 12 Tf (" + b"long " * 10_000 + b") Tj ET"] * 50)
    assert refused(line, max_bytes=120_000) == "too_large"
    assert len(read) < 5


def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "SECONDS", 0.0)
    assert refused(BOOK) == "too_large"


def test_a_page_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise KeyError("/Secret")

    monkeypatch.setattr(PageObject, "extract_text", fail)
    with pytest.raises(DocumentRefused, match=r"^Page 1 of the PDF cannot be read") as caught:
        parse(BOOK, "a.pdf")
    assert caught.value.code == "damaged"
    assert "Secret" not in caught.value.reason


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"%PDF-1.7 ...", "a.pdf", "damaged"),
        (b"%PDF-1.7 ...", "a.txt", "damaged"),
        (b"", "a.pdf", "unsupported_type"),
        (b"A letter.", "a.pdf", "unsupported_type"),
        (BOOK[:300], "a.pdf", "damaged"),
    ],
)
def test_what_is_no_whole_pdf_is_refused(data: bytes, name: str, code: str) -> None:
    assert refused(data, name) == code


def test_bytes_before_the_head_are_accepted_in_a_file_that_is_called_pdf() -> None:
    assert parse(b"\n\n" + BOOK, "a.pdf").marks[0].page == 1


def test_what_cannot_be_stored_is_left_out() -> None:
    page = b"BT /F 12 Tf (Bell\\007 and nul\\000.) Tj ET"
    assert parse(make_pdf_of([page]), "a.pdf").text == "Bell and nul."


def test_a_word_file_named_pdf_is_read_as_what_it_is() -> None:
    data = make_docx(lambda document: document.add_paragraph("I am a letter."))
    assert parse(data, "letter.pdf", "application/pdf").text == "I am a letter."


def survives(data: bytes) -> None:
    began = time.monotonic()
    try:
        parsed = parse(data, "a.pdf", max_bytes=100_000)
    except DocumentRefused:
        pass
    else:
        assert parsed.text.strip()
        assert parsed.title
        assert all(0 <= mark.start < len(parsed.text) for mark in parsed.marks)
    assert time.monotonic() - began < 10


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_any_bytes_behind_a_head_are_read_or_refused(data: bytes) -> None:
    survives(b"%PDF-1.4\n" + data)


@settings(max_examples=150)
@given(
    st.sampled_from([BOOK, make_pdf(PAGES), make_pdf(PAGES, password="")]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_pdf_that_was_changed_anywhere_is_read_or_refused(
    data: bytes, changes: list[tuple[float, bytes]], end: float, cut: bool
) -> None:
    changed = bytearray(data)
    for place, piece in changes:
        at = int(place * (len(changed) - 1))
        changed[at : at + len(piece)] = piece
    survives(bytes(changed[: int(end * len(changed))] if cut else changed))
