"""The adapter to docling, with a stand-in for the package.

The real one is not installed for the tests: it downloads its models. So these hold the adapter to
the interface that docling documents, and say nothing of how well docling reads.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from types import ModuleType
from typing import Any

import pytest

from retrieval.docling_parser import docling_readers
from retrieval.errors import DocumentRefused, ParserUnavailable
from retrieval.marks import Mark
from retrieval.parsing import parse
from tests.upload_files import make_docx, make_pdf

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


class Label(str, Enum):  # noqa: UP042
    TITLE = "title"
    HEADER = "section_header"
    TEXT = "text"
    ITEM = "list_item"
    TABLE = "table"
    PICTURE = "picture"


class Status(Enum):
    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"


@dataclass
class Item:
    label: Label
    text: str = ""
    page: int | None = 1

    @property
    def prov(self) -> list[Any]:
        return [type("Prov", (), {"page_no": self.page})] if self.page else []

    def export_to_markdown(self, doc: object) -> str:
        assert isinstance(doc, Fake)
        return "| a | b |" if self.label is Label.TABLE else "<!-- image -->"


@dataclass
class Fake:
    """A converter, its result and its document in one."""

    items: list[Item] = field(default_factory=list)
    status: Status = Status.SUCCESS
    fails: bool = False
    given: list[tuple[str, bytes, int]] = field(default_factory=list)

    def convert(self, source: Any, *, max_num_pages: int) -> "Fake":
        if self.fails:
            raise RuntimeError("a secret of the inside")
        self.given.append((source.name, source.stream.getvalue(), max_num_pages))
        return self

    @property
    def document(self) -> "Fake":
        return self

    def iterate_items(self) -> Iterator[tuple[Item, int]]:
        return ((item, 0) for item in self.items)


@dataclass
class Stream:
    name: str
    stream: BytesIO


@pytest.fixture
def docling(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()

    def option(pipeline_options: Any) -> Any:
        return pipeline_options

    def converter(allowed_formats: list[str], format_options: dict[str, Any]) -> Fake:
        assert allowed_formats == ["pdf", "docx", "image"]
        assert all(chosen["document_timeout"] > 0 for chosen in format_options.values())
        return fake

    contents = {
        "docling": {},
        "docling.datamodel": {},
        "docling.datamodel.base_models": {
            "InputFormat": type("F", (), {"PDF": "pdf", "DOCX": "docx", "IMAGE": "image"}),
            "ConversionStatus": Status,
            "DocumentStream": Stream,
        },
        "docling.datamodel.pipeline_options": {"PdfPipelineOptions": dict},
        "docling.document_converter": {
            "DocumentConverter": converter,
            "PdfFormatOption": option,
            "ImageFormatOption": option,
        },
    }
    for name, names in contents.items():
        module = ModuleType(name)
        module.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def test_items_become_text_with_pages_and_sections(docling: Fake) -> None:
    docling.items = [
        Item(Label.TITLE, "The house book"),
        Item(Label.TEXT, "Of the flat."),
        Item(Label.PICTURE),
        Item(Label.HEADER, "Heating", 2),
        Item(Label.ITEM, "Bleed it.", 2),
        Item(Label.TABLE, page=3),
        Item(Label.TEXT, "  ", 3),
        Item(Label.TEXT, "The\x00 end.", None),
    ]
    data = make_pdf([""])
    parsed = parse(data, "a.pdf", readers=docling_readers())
    assert parsed.title == "The house book"
    assert parsed.text == (
        "The house book\n\nOf the flat.\n\nHeating\n\n- Bleed it.\n\n| a | b |\n\nThe end."
    )
    assert [(mark.page, mark.section) for mark in parsed.marks] == [
        (1, "The house book"),
        (2, "Heating"),
        (3, "Heating"),
        (None, "Heating"),
    ]
    assert docling.given == [("upload.pdf", data, 2000)]


def test_word_files_and_images_are_read_too(docling: Fake) -> None:
    docling.items = [Item(Label.TEXT, "Hello.", None)]
    readers = docling_readers()
    letter = make_docx(lambda document: document.add_paragraph("x"))
    assert parse(letter, "a.docx", readers=readers).text == "Hello."
    assert parse(PNG, "scan.png", readers=readers).marks == ()
    assert parse(b"# T\n", "a.md", readers=readers).marks == (Mark(0, None, "T"),)
    assert [name for name, _, _ in docling.given] == ["upload.docx", "upload.png"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (make_pdf(["x"], password="secret"), "encrypted"),
        (make_pdf(["x"] * 2001), "too_large"),
        (b"%PDF-1.7", "damaged"),
        (b"PK\x03\x04", "damaged"),
    ],
)
def test_what_the_built_in_readers_refuse_never_reaches_docling(
    docling: Fake, data: bytes, code: str
) -> None:
    with pytest.raises(DocumentRefused) as refused:
        parse(data, "a.pdf", readers=docling_readers())
    assert refused.value.code == code
    assert docling.given == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": Status.PARTIAL_SUCCESS, "items": [Item(Label.TEXT, "half")]}, "too_large"),
        ({"items": []}, "no_text"),
        ({"fails": True}, "damaged"),
    ],
)
def test_what_docling_cannot_read_is_refused(
    docling: Fake, changes: dict[str, Any], code: str
) -> None:
    vars(docling).update(changes)
    with pytest.raises(DocumentRefused) as refused:
        parse(PNG, "a.png", readers=docling_readers())
    assert refused.value.code == code
    assert "secret" not in refused.value.reason


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docling", None)
    with pytest.raises(ParserUnavailable, match=r"\.\[docling\]"):
        docling_readers()
