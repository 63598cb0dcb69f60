"""Marks: which page and section a part of a text is from, and that a library keeps them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import DocumentLibrary
from retrieval.errors import DocumentCorrupt, DocumentRefused
from retrieval.markdown import section_marks
from retrieval.marks import MAX_MARKS, NOWHERE, Draft, Mark, from_json, main_mark, mark_at, to_json
from retrieval.parsing import parse

PAGED = (Mark(0, 1), Mark(5, 2, "Heating"))


def test_a_mark_holds_until_the_next_one() -> None:
    marks = (Mark(3, 1), Mark(7, 2, "B"))
    found = [mark_at(marks, position) for position in (0, 2, 3, 6, 7, 99)]
    assert found == [NOWHERE, NOWHERE, marks[0], marks[0], marks[1], marks[1]]
    assert mark_at((), 0) == NOWHERE


def test_a_passage_is_of_the_mark_that_covers_most_of_it() -> None:
    marks = (Mark(10, 1), Mark(20, 2), Mark(30, 3))
    found = {
        (start, end): main_mark(marks, start, end).page
        for start, end in [
            (0, 5),
            (0, 15),
            (5, 19),
            (18, 30),
            (19, 31),
            (15, 25),
            (12, 14),
            (29, 99),
        ]
    }
    assert found == {
        (0, 5): None,
        (0, 15): None,
        (5, 19): 1,
        (18, 30): 2,
        (19, 31): 2,
        (15, 25): 1,
        (12, 14): 1,
        (29, 99): 3,
    }
    assert main_mark((), 0, 9) == NOWHERE


def test_markdown_headings_are_sections() -> None:
    text = (
        "before\n\n# One #\ntext\n\n```\n# code\n```\nTwo\n===\ntext\n\nThree\n---\ntext\n\n"
        "| a | b |\n|---|---|\n\n- item\n---\ntext above\nthe dashes\n---\n### 3.1 C#\n#\n# "
    )
    assert [(text[mark.start :].split("\n")[0], mark.section) for mark in section_marks(text)] == [
        ("# One #", "One"),
        ("Two", "Two"),
        ("Three", "Three"),
        ("### 3.1 C#", "3.1 C#"),
    ]
    assert section_marks("---\ntitle: x\n---\ntext") == ()


@given(st.lists(st.sampled_from(["# A", "#", "B", "===", "---", "```", ""])).map("\n".join))
def test_every_text_s_sections_can_be_kept(text: str) -> None:
    marks = section_marks(text)
    assert from_json(to_json(marks)) == marks


def test_a_heading_above_a_row_of_equals_signs_is_one_heading() -> None:
    assert section_marks("# Title\n=======\n\nBody.") == (Mark(0, None, "Title"),)


def test_markdown_and_html_files_have_sections_and_plain_text_has_none() -> None:
    assert [m.section for m in parse(b"a\n\n# B\n\nc", "a.md").marks] == ["B"]
    assert parse(b"a\n\n# B\n\nc", "a.txt").marks == ()
    page = (
        b"<title>T</title><p>top</p><template><h1>no</h1></template><h1>A &amp; <i>B</i></h1>"
        b"<p>one</p><h2></h2><p>two</p><div><h3>Zu&#776;rich</h3>three</div>"
    )
    parsed = parse(page, "a.html")
    assert parsed.text == "top\n\nA & B\n\none\n\ntwo\n\nZürich\n\nthree"
    found = {word: mark_at(parsed.marks, parsed.text.index(word)) for word in parsed.text.split()}
    assert found["top"].section is None
    assert found["A"].section == found["one"].section == found["two"].section == "A & B"
    assert found["three"].section == "Zürich"


@given(
    st.lists(st.tuples(st.text(max_size=8), st.integers(1, 3), st.sampled_from("AB")), max_size=9)
)
def test_the_marks_of_a_draft_point_at_its_parts(parts: list[tuple[str, int, str]]) -> None:
    draft = Draft(10_000)
    places = []
    for part, page, section in parts:
        try:
            draft.add(part, page=page, section=section)
        except DocumentRefused as error:
            assert error.code == "not_text"  # noqa: PT017
            continue
        if part.strip():
            places.append((len(draft.text) - 1, page, section))
    for last, page, section in places:
        mark = mark_at(draft.marks, last)
        assert (mark.page, mark.section) == (page, section)
    assert from_json(json.loads(json.dumps(to_json(draft.marks)))) == draft.marks


def test_a_draft_ends_at_its_limit() -> None:
    draft = Draft(10)
    draft.add("größe")
    with pytest.raises(DocumentRefused) as refused:
        draft.add("more")
    assert refused.value.code == "too_large"


def test_section_names_are_one_short_line() -> None:
    assert Mark.of(0, None, " a\n\tb\x00 " + "x" * 999).section == "a b " + "x" * 196
    assert Mark.of(0, None, " \n").section is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        "x",
        [1],
        [{"start": 0}],
        [{"start": -1, "page": None, "section": None}],
        [{"start": True, "page": None, "section": None}],
        [{"start": 0, "page": 0, "section": None}],
        [{"start": 0, "page": "1", "section": None}],
        [{"start": 0, "page": 1, "section": 7}],
        [{"start": 0, "page": 1, "section": "\ud800"}],
        [{"start": 0, "page": 1, "section": "x" * 201}],
        [{"start": 1, "page": 1, "section": None}, {"start": 0, "page": 2, "section": None}],
        [{"start": 1, "page": 1, "section": None}, {"start": 1, "page": 2, "section": None}],
    ],
)
def test_marks_that_are_none_are_refused(value: object) -> None:
    with pytest.raises(ValueError):
        from_json(value)


def test_a_library_keeps_marks_with_the_text(library: DocumentLibrary) -> None:
    first, created = library.put("home", "a", "T", "page\nnext", PAGED)
    assert (created, first.marks) == (True, PAGED)
    assert library.get("home", "a") == first
    # Sent again without them, as text or with another title, it still has its pages.
    assert library.put("home", "a", "T", "page\nnext") == (first, False)
    assert library.put("home", "a", "T", "page\nnext", ()) == (first, False)
    assert library.put("home", "a", "New", "page\nnext")[0].marks == PAGED
    assert library.put("home", "a", "New", "# Other\ntext")[0].marks == (Mark(0, None, "Other"),)


def test_marks_alone_make_no_version(library: DocumentLibrary) -> None:
    first, _ = library.put("home", "a", "T", "page\nnext")
    again, created = library.put("home", "a", "T", "page\nnext", PAGED)
    assert (created, again.version, again.marks) == (False, first.version, PAGED)
    assert again.created_at == first.created_at
    assert library.get("home", "a") == again


def test_a_document_of_before_marks_is_read_and_gets_its_sections(
    library: DocumentLibrary, tmp_path: Path
) -> None:
    library.put("home", "a", "T", "# One\n\ntext", ())
    path = tmp_path / "documents/home/documents/a.json"
    assert "marks" not in json.loads(path.read_text())
    assert library.get("home", "a").marks == ()
    document, created = library.put("home", "a", "T", "# One\n\ntext")
    assert (created, document.version) == (False, 1)
    assert document.marks == (Mark(0, None, "One"),)
    path.write_text(path.read_text().replace('"One"', "[]"))
    with pytest.raises(DocumentCorrupt):
        library.get("home", "a")


def test_a_text_that_is_all_headings_has_no_sections(library: DocumentLibrary) -> None:
    text = "# a\n" * (MAX_MARKS + 1)
    assert library.put("home", "a", None, text)[0].marks == ()
