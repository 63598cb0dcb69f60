"""Word uploads: text with sections, and zip files and XML that mean no good."""

import io
import re
import struct
import time
import zipfile
from typing import Any

import pytest
from docx.document import Document
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import deadline
from retrieval.errors import DocumentRefused
from retrieval.marks import mark_at
from retrieval.parsing import parse
from tests.upload_files import make_docx, make_zip, rewritten_zip

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MAIN = "word/document.xml"


def fill(document: Document) -> None:
    document.add_heading("The house book", 0)
    document.add_paragraph("Of the garden flat.")
    document.add_heading("Heating", 1)
    document.add_paragraph("The boiler was\tserviced by Große.")
    document.add_paragraph("Bleed it.", style="List Bullet")
    document.add_paragraph("Fill it.", style="List Number")
    document.add_heading("  Keys and \n meters", 2)
    table = document.add_table(2, 2)
    for index, text in enumerate(["meter", "place", "gas\nold", "cellar"]):
        table.cell(index // 2, index % 2).text = text
    document.add_paragraph("That is all.")


HOUSE = make_docx(fill)


def with_body(body: str, prolog: str = "") -> bytes:
    """A Word file with this XML as its body."""
    xml = f'{prolog}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    return rewritten_zip(HOUSE, lambda name, data: xml.encode() if name == MAIN else data)


def refused(data: bytes, filename: str = "a.docx") -> DocumentRefused:
    with pytest.raises(DocumentRefused) as caught:
        parse(data, filename, max_bytes=4_000_000)
    assert caught.value.reason.endswith(".")
    return caught.value


def test_no_title_is_invented_where_the_file_has_no_properties() -> None:
    plain = make_docx(lambda document: document.add_paragraph("Letter to the tenants"))

    def without(name: str, data: bytes) -> bytes:
        return re.sub(rb"<Relationship [^>]*core-properties[^>]*/>", b"", data)

    bare = rewritten_zip(plain, without)
    assert len(bare) != len(plain)
    assert parse(bare, "letter.docx").title == "Letter to the tenants"


@pytest.mark.parametrize("name", ["house.docx", "house.txt", "house.zip", None])
def test_everything_comes_in_reading_order_below_its_heading(name: str | None) -> None:
    parsed = parse(HOUSE, name)
    assert parsed.title == "The house book"
    assert parsed.text == (
        "The house book\n\nOf the garden flat.\n\nHeating\n\nThe boiler was\tserviced by Große.\n\n"
        "- Bleed it.\n- Fill it.\n\nKeys and \n meters\n\n| meter | place |\n| gas old | cellar |"
        "\n\nThat is all."
    )
    sections = {
        words: mark_at(parsed.marks, parsed.text.index(words)).section
        for words in ("Of the", "Heating", "boiler", "Fill", "Keys", "cellar", "all")
    }
    assert sections == {
        "Of the": None,
        **dict.fromkeys(("Heating", "boiler", "Fill"), "Heating"),
        **dict.fromkeys(("Keys", "cellar", "all"), "Keys and meters"),
    }
    assert {mark.page for mark in parsed.marks} == {None}


def test_headings_are_known_by_style_and_by_level() -> None:
    def own_styles(document: Document) -> None:
        style: Any = document.styles.add_style("Kapitel", 1)
        style.base_style = document.styles["Heading 2"]
        document.add_paragraph("By style", style="Kapitel")
        document.add_paragraph("one")
        levelled = document.add_paragraph("By level")
        levelled._p.get_or_add_pPr().append(parse_xml(f'<w:outlineLvl {nsdecls("w")} w:val="1"/>'))
        document.add_paragraph("two")

    parsed = parse(make_docx(own_styles), "a.docx")
    assert [mark.section for mark in parsed.marks] == ["By style", "By level"]


def test_what_is_shown_is_read_and_what_is_not_is_not() -> None:
    run = "<w:r><w:t>{}</w:t></w:r>"
    parsed = parse(
        with_body(
            f"<w:sdt><w:sdtContent><w:p>{run.format('In a control.')}</w:p></w:sdtContent></w:sdt>"
            f"<w:p><w:ins>{run.format('Put in.')}</w:ins><w:del><w:r><w:delText>Taken out.</w:delText>"
            "</w:r></w:del><w:r><w:rPr><w:vanish/></w:rPr><w:t>Hidden.</w:t></w:r>"
            f"<w:hyperlink>{run.format(' A link.')}</w:hyperlink></w:p>"
            f"<w:p><w:r><w:pict><w:txbxContent><w:p>{run.format('In a box.')}</w:p>"
            "</w:txbxContent></w:pict></w:r></w:p><!-- said aside -->"
            f"<w:p><w:pPr><w:pStyle w:val='none'/></w:pPr>{run.format('Of no style.')}</w:p>"
        ),
        "a.docx",
    )
    assert parsed.text == "In a control.\n\nPut in. A link.\n\nIn a box.\n\nOf no style."


def test_a_file_without_words_is_empty() -> None:
    assert refused(make_docx(lambda document: document.add_paragraph(" "))).code == "empty"


@pytest.mark.parametrize(
    "entity",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
    ],
)
def test_entities_are_refused_unread(entity: str) -> None:
    body = "<w:p><w:r><w:t>&b;</w:t></w:r></w:p>"
    assert "document type" in refused(with_body(body, entity)).reason
    xml = f'<?xml version="1.0" encoding="UTF-16"?>{entity}<w:document xmlns:w="{W}"/>'
    wide = rewritten_zip(HOUSE, lambda n, data: xml.encode("utf-16") if n == MAIN else data)
    assert "document type" in refused(wide).reason


def test_bombs_are_refused_before_they_unpack() -> None:
    began = time.monotonic()
    assert refused(with_body("<w:p/>" * 6_000_000)).code == "too_large"
    # Within the size, but beyond what real words pack to.
    assert refused(with_body(" " * 20_000_000)).code == "too_large"
    types = zipfile.ZipFile(io.BytesIO(HOUSE)).read("[Content_Types].xml")
    many = {f"word/{number}.xml": b"" for number in range(2001)}
    assert refused(make_zip({"[Content_Types].xml": types} | many)).code == "too_large"
    fat = make_zip({"[Content_Types].xml": types + b" " * 2_000_000})
    assert refused(fat).code == "too_large"
    wide = "<w:tcPr><w:gridSpan w:val='99999999'/></w:tcPr><w:p><w:r><w:t>one</w:t></w:r></w:p>"
    row = with_body(f"<w:tbl><w:tr><w:tc>{wide}</w:tc></w:tr></w:tbl>")
    assert parse(row, "a.docx").text == "| one |"
    nested = "<w:tbl><w:tr><w:tc>" * 5000 + "</w:tc></w:tr></w:tbl>" * 5000
    assert refused(with_body(nested)).code == "damaged"
    assert time.monotonic() - began < 20


def test_a_size_that_is_a_lie_is_found_out_while_unpacking() -> None:
    data = bytearray(with_body("<w:p/>" * 6_000_000))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as package:
        true = struct.pack("<I", package.getinfo(MAIN).file_size)
    assert data.count(true) == 2
    assert refused(bytes(data.replace(true, struct.pack("<I", 99)))).code in (
        "damaged",
        "too_large",
    )


def test_pictures_are_not_unpacked_and_not_missed() -> None:
    data = make_zip(
        {name: zipfile.ZipFile(io.BytesIO(HOUSE)).read(name) for name in names(HOUSE)}
        | {"word/media/image1.png": b"\0" * 50_000_000}
    )
    assert parse(data, "a.docx").title == "The house book"


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


@pytest.mark.parametrize("name", ["../evil.xml", "/etc/evil.xml", "a\\b.xml", "c:evil.xml"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    data = io.BytesIO(HOUSE)
    with zipfile.ZipFile(data, "a") as package:
        package.writestr(name, b"<a/>")
    assert "leads out" in refused(data.getvalue()).reason


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_links_doubles_and_foreign_packing_are_refused() -> None:
    link = zipfile.ZipInfo("word/link.xml")
    link.external_attr = 0o120777 << 16
    for info, packing in (
        (link, zipfile.ZIP_STORED),
        (zipfile.ZipInfo(MAIN), zipfile.ZIP_STORED),
        (zipfile.ZipInfo("word/x.xml"), zipfile.ZIP_LZMA),
    ):
        data = io.BytesIO(HOUSE)
        with zipfile.ZipFile(data, "a") as package:
            package.writestr(info, b"/etc/passwd", packing)
        assert refused(data.getvalue()).code == "damaged"


def test_passwords_are_named_as_the_reason() -> None:
    flagged = bytearray(HOUSE)
    at = flagged.index(b"PK\x01\x02")
    flagged[at + 8] |= 1
    assert refused(bytes(flagged)).code == "encrypted"
    locked = b"\xd0\xcf\x11\xe0" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")
    assert refused(locked).code == "encrypted"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "a.doc", "old Office file"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "a.docx", "old Office file"),
        (make_zip({"a.txt": b"a"}), "a.docx", "zip file"),
        (
            make_zip({"[Content_Types].xml": b"...spreadsheetml.sheet.main+xml..."}),
            "a.xlsx",
            "Excel",
        ),
        (
            make_zip({"[Content_Types].xml": b"...presentationml.presentation.main+xml..."}),
            "a.docx",
            "PowerPoint",
        ),
        (b"A letter.", "a.docx", "named as a Word file"),
        (b"\x89PNG\r\n\x1a\n", "a.png", ".png"),
    ],
)
def test_other_types_are_refused_by_what_they_are(data: bytes, name: str, words: str) -> None:
    error = refused(data, name)
    assert error.code == "unsupported_type"
    assert words in error.reason


def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "SECONDS", 0.0)
    assert refused(HOUSE).code == "too_large"


def survives(data: bytes) -> None:
    began = time.monotonic()
    try:
        parsed = parse(data, "a.docx", max_bytes=1_000_000)
    except DocumentRefused:
        pass
    else:
        assert parsed.text.strip()
        assert all(0 <= mark.start < len(parsed.text) for mark in parsed.marks)
    assert time.monotonic() - began < 10


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_any_bytes_behind_a_head_are_refused(data: bytes) -> None:
    survives(b"PK\x03\x04" + data)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=4),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_package_that_was_changed_anywhere_is_read_or_refused(
    changes: list[tuple[float, bytes]], end: float, cut: bool
) -> None:
    changed = patched(HOUSE, changes)
    survives(changed[: int(end * len(changed))] if cut else changed)


@settings(max_examples=60)
@given(
    st.sampled_from([MAIN, "word/styles.xml", "[Content_Types].xml", "_rels/.rels"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=4),
)
def test_a_part_that_was_changed_anywhere_is_read_or_refused(
    part: str, changes: list[tuple[float, bytes]]
) -> None:
    survives(
        rewritten_zip(HOUSE, lambda name, data: patched(data, changes) if name == part else data)
    )


def patched(data: bytes, changes: list[tuple[float, bytes]]) -> bytes:
    changed = bytearray(data)
    for place, piece in changes:
        at = int(place * (len(changed) - 1))
        changed[at : at + len(piece)] = piece
    return bytes(changed)
