"""Parsing: uploaded bytes become a title, clean text, and marks of where its parts come from.

The door to the readers of each kind of file. Knows nothing of where documents are kept.
"""

import codecs
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType

from retrieval.errors import DocumentRefused
from retrieval.html_page import read_html
from retrieval.kinds import kind_of
from retrieval.markdown import first_heading, section_marks
from retrieval.marks import Draft, Mark
from retrieval.pdf import read_pdf
from retrieval.text import first_line, normalise, only_text, require_text, shorten
from retrieval.word import read_docx

logger = logging.getLogger(__name__)

# Puts a file's text into the draft and returns the title that the file gives itself. It may raise
# anything: what is no `DocumentRefused` says that the file is damaged.
Read = Callable[[bytes, Draft], str | None]

BUILTIN: Mapping[str, Read] = MappingProxyType({"pdf": read_pdf, "docx": read_docx})


@dataclass(frozen=True)
class Parsed:
    """A document's title, its text (NFC, `\\n` line endings, no byte-order mark) and its marks."""

    title: str
    text: str
    marks: tuple[Mark, ...] = ()


def parse(
    data: bytes,
    filename: str | None = None,
    content_type: str | None = None,
    *,
    max_bytes: int = 16_000_000,
    readers: Mapping[str, Read] = BUILTIN,
) -> Parsed:
    """Read an upload; its first bytes decide its kind, then the name's suffix, then the type.

    `max_bytes` bounds the file and its text. Raises `DocumentRefused`: `too_large`,
    `unsupported_type`, `not_text`, `empty`, `encrypted`, `no_text` or `damaged`.
    """
    if len(data) > max_bytes:
        raise DocumentRefused(
            "too_large", f"The file has {len(data)} bytes; split it into files below {max_bytes}."
        )
    kind = kind_of(data, filename, content_type, readers)
    if kind in readers:
        title, text, marks = _read(readers[kind], data, max_bytes)
    else:
        title, text, marks = _decoded(kind, data, max_bytes)
    require_text(text)
    stem = PurePath(filename).stem.strip() if filename else ""
    named = only_text(title or first_line(text) or stem)
    return Parsed(shorten(named or "Untitled"), text, marks)


def _read(read: Read, data: bytes, max_bytes: int) -> tuple[str | None, str, tuple[Mark, ...]]:
    draft = Draft(max_bytes)
    try:
        title = read(data, draft)
    except DocumentRefused:
        raise
    except Exception as error:
        # The libraries document no errors: a damaged file may raise whatever Python has.
        logger.info("An upload cannot be read: %r", error)
        raise DocumentRefused(
            "damaged", "The file is damaged; open it, save it again and send that."
        ) from error
    return only_text(title or "") or None, draft.text, draft.marks


def _decoded(kind: str, data: bytes, max_bytes: int) -> tuple[str | None, str, tuple[Mark, ...]]:
    text = normalise(_decode(data))
    if kind == "html":
        draft = Draft(max_bytes)
        title = read_html(text, draft)
        return title, draft.text, draft.marks
    if kind == "markdown":
        return first_heading(text), text, section_marks(text)
    return None, text, ()


def _decode(data: bytes) -> str:
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentRefused(
            "not_text", "The file is not UTF-8 text; save it as UTF-8 and send it again."
        ) from error
