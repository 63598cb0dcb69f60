import codecs
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import DocumentRefused
from retrieval.markdown import title_of
from retrieval.parsing import parse

PAGE = b"""<!doctype html><html><head><title> The  garden
flat </title><style>p { color: red }</style><script>var a = "<p>no</p>";</script></head>
<body><h1>Heading</h1><!-- hidden <p>words</p> --><p>The boiler&nbsp;was <b>serviced</b> by
Franz&#32;Huber.</p><ul><li>one</li><li>two</li></ul><table><tr><td>a</td><td>b</td></tr></table>
</body></html>"""


def test_markdown_takes_its_title_from_the_first_heading() -> None:
    parsed = parse(b"intro\n\n```\n# code\n```\n## The  choir ##\n\ntext", "notes.md")
    assert parsed.title == "The choir"
    assert parsed.text.startswith("intro\n")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Underlined\n=====\nbody", "Underlined"),
        ("# Learn C#\nbody", "Learn C#"),
        ("---\nplain first line\n---\n", "plain first line"),
        ("x" * 81, None),
        ("", None),
    ],
)
def test_titles(text: str, title: str | None) -> None:
    assert title_of(text) == title


def test_text_takes_its_title_from_a_short_first_line_else_the_file_name() -> None:
    assert parse(b"\n\nShort line\nmore", "a.txt").title == "Short line"
    assert parse(b"word " * 50, "Boiler book.txt").title == "Boiler book"
    assert parse(b"# 5 is no heading here\nmore", "a.txt").title == "# 5 is no heading here"
    assert parse(b"word " * 50).title == "Untitled"


def test_html_keeps_visible_text_alone() -> None:
    parsed = parse(PAGE, "page.html")
    assert parsed.title == "The garden flat"
    assert parsed.text == (
        "Heading\n\nThe boiler was serviced by Franz Huber.\n\none\ntwo\n\n| a | b |"
    )


def test_a_table_of_a_page_keeps_its_borders() -> None:
    page = b"""<table><caption>Prices</caption><thead><tr><th>Article<th>Price</thead>
    <tr><td>Work  gloves</td><td><p>7.90</p> <p>euros</p></td></tr>
    <tr><td>Hex bolt <b>M8</b><td>0.35
    <tr><td>nothing but one cell</td></tr><tr><td></td><td></td></tr></table><p>Done.</p>"""
    assert parse(page, "a.html").text.split("\n") == [
        "Prices",
        "| Article | Price |",
        "| Work gloves | 7.90 euros |",
        "| Hex bolt M8 | 0.35 |",
        "nothing but one cell",
        "",
        "Done.",
    ]


def test_a_table_that_lays_a_page_out_is_no_table() -> None:
    words = "word " * 500
    page = f"""<table><tr><td><h2>News</h2><p>One.</p></td><td>Two.</td></tr>
    <tr><td><p>Three.</p></td><td>{words}</td></tr>
    <tr><td>Left</td><td><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>"""
    text = parse(page.encode(), "a.html").text
    assert text.count("|") == 3
    assert "| a | b |" in text
    assert "News\n\nOne." in text


@pytest.mark.parametrize(
    "script",
    ["for(i=0;i<!n;i++){}", 'var open = "<!--";', "if (a<!b) {}", "x = '<style>'; y = \"</p>\";"],
)
def test_what_a_script_compares_is_no_comment(script: str) -> None:
    page = f"<head><SCRIPT type='x'>{script}</Script ><style>p<!q{{}}</style></head><p>One.</p>"
    page += (
        f"<script>{script}</script><p>The boiler was serviced by Franz.</p><!-- no --><p>Three.</p>"
    )
    parsed = parse(page.encode(), "page.html")
    assert parsed.text == "One.\n\nThe boiler was serviced by Franz.\n\nThree."
    # One that never ends hides what follows, and nothing else.
    assert parse(f"<p>One.</p><script>{script}".encode(), "page.html").text == "One."


def test_html_without_a_title_takes_its_heading() -> None:
    assert parse(b"<h1>Our <i>choir</i></h1><p>x</p>", None, "text/html; charset=utf-8").title == (
        "Our choir"
    )


@pytest.mark.parametrize(
    "piece",
    [
        *("<script>", "<style ", "<script></script ", "</script ", "<\u017fcript>", "<!--"),
        *("<a ", '<a b="', "<?", "</a", "<![CDATA[", "<"),
    ],
)
def test_html_that_never_closes_its_tags_is_read_in_linear_time(piece: str) -> None:
    began = time.process_time()
    for page in ("<p>kept</p>" + piece * 40_000, "<p>kept</p><script>" + piece * 40_000):
        parsed = parse(page.encode(), "page.html")
        assert parsed.text.startswith("kept")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "data",
    [
        "Zürich\r\nBern\r".encode(),
        codecs.BOM_UTF8 + "Zürich\nBern\n".encode(),
        codecs.BOM_UTF16_LE + "Zürich\nBern\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Zu\u0308rich\nBern\n".encode("utf-16-be"),
    ],
)
def test_encodings_and_line_endings_come_out_the_same(data: bytes) -> None:
    assert parse(data, "a.txt").text == "Zürich\nBern\n"


@pytest.mark.parametrize(
    ("data", "filename", "content_type", "code"),
    [
        (b"", "a.txt", None, "empty"),
        (b" \n\t\n", "a.md", None, "empty"),
        (b"<p> </p><script>x</script>", "a.html", None, "empty"),
        (b"ab\x00cd", "a.txt", None, "not_text"),
        (b"\xff\xfe\x00\x00a\x00\x00\x00", "a.txt", None, "not_text"),
        ("Zürich".encode("latin-1"), "a.txt", None, "not_text"),
        (b"%PDF-1.7 ...", "a.txt", "text/plain", "damaged"),
        (b"anything", "a.pdf", "application/pdf", "unsupported_type"),
        (b"anything", "a.docx", None, "unsupported_type"),
        (b"{}", None, "application/json", "unsupported_type"),
        (b"x" * 101, "a.txt", None, "too_large"),
    ],
)
def test_refusals(data: bytes, filename: str | None, content_type: str | None, code: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        parse(data, filename, content_type, max_bytes=100)
    assert refused.value.code == code
    assert refused.value.reason.endswith(".")
    if code == "unsupported_type":
        assert ".txt" in refused.value.reason
        assert ".md" in refused.value.reason


def test_the_content_type_decides_where_the_name_does_not() -> None:
    assert parse(b"# T\nx", "README", "text/markdown").title == "T"
    assert parse(b"plain", "notes", "application/octet-stream").text == "plain"


@given(st.binary(max_size=200), st.sampled_from(["a.txt", "a.md", "a.html", None]))
def test_any_bytes_are_read_or_refused(data: bytes, filename: str | None) -> None:
    try:
        parsed = parse(data, filename)
    except DocumentRefused:
        return
    assert parsed.text.strip()
    assert parsed.title
    assert unicodedata.is_normalized("NFC", parsed.text)
    assert "\r" not in parsed.text


def test_a_page_of_open_elements_takes_no_time() -> None:
    """Each closing tag once looked through all that were open: minutes for a small file."""
    page = (
        "<template>" * 40_000 + "</p>" * 40_000 + "<p>Late.</p>" + "</template>" * 40_000 + "Seen."
    )
    began = time.monotonic()
    assert parse(page.encode(), "a.html").text == "Seen."
    assert time.monotonic() - began < 10
