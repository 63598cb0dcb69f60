"""PDF files: the text of their pages, by pypdf, with page numbers and the outline's sections.

Pages are counted from 1 as they lie in the file, whatever number is printed on them. Knows no
optical recognition: a page that is an image has no text here.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

from pypdf import PasswordType, PdfReader, apply_configuration
from pypdf.errors import DependencyError, LimitReachedError
from pypdf.generic import Destination

from retrieval.deadline import Deadline
from retrieval.errors import DocumentRefused
from retrieval.marks import Draft
from retrieval.text import one_line, only_text

# One damaged file can make it say thousands of lines, none of which helps who runs the service.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)

MAX_PAGES = 2000
_MAX_STREAM_BYTES = 16_000_000

# pypdf's own limits are for desktops: a service reads what strangers send, many at once.
_LIMITS: dict[str, Any] = {
    "zlib_maximum_output_length": _MAX_STREAM_BYTES,
    "lzw_maximum_output_length": _MAX_STREAM_BYTES,
    "run_length_maximum_output_length": _MAX_STREAM_BYTES,
    "brotli_maximum_output_length": _MAX_STREAM_BYTES,
    "array_based_stream_maximum_output_length": _MAX_STREAM_BYTES,
    "stream_decoding_work_maximum_length": 4 * _MAX_STREAM_BYTES,
    "stream_parsing_work_maximum_count": 500_000,
    "zlib_maximum_recovery_input_length": 1_000_000,
    "page_tree_maximum_entries": 2 * MAX_PAGES,
    "outline_maximum_entries": 5000,
    "xform_maximum_invocations_per_extraction": 1000,
    # Never start a program for what somebody sent.
    "jbig2dec_binary": None,
}

# What programs write into the title when nobody gave one.
_NO_TITLE = re.compile(
    r"microsoft \w+ - .*|untitled.*|.*\.(docx?|pdf|odt|rtf|txt|tex|dvi|indd|qxd|pptx?|xlsx?"
    r"|html?|md|csv|php|aspx?|jsp)|\w+://.*",
    re.IGNORECASE,
)
_NUMBERED = r"^[ \t]*(?:[\dA-Z][\d.]*[ \t]+)?"
_TITLE_WORDS = 30


def read_pdf(data: bytes, draft: Draft) -> str | None:
    """Put the pages' text into the draft; returns the file's title, if it has one.

    Raises `DocumentRefused`: `encrypted`, `no_text` for pages that are images, `too_large` for too
    many pages, too long a text, streams that unpack to too much and work that takes too long;
    `damaged` for a page that cannot be read. A damaged file may raise any other exception.
    """
    deadline = Deadline()
    try:
        with limited():
            reader = open_pdf(data)
            sections = _sections(reader, deadline)
            section: str | None = None
            before = ""
            for index in range(len(reader.pages)):
                text = _page_text(reader, index, deadline)
                for below, piece in _split(text, sections[index], section, deadline):
                    gap = "\n" if _runs_on(before, piece) else "\n\n"
                    draft.add(piece, page=index + 1, section=below, gap=gap)
                    before = piece if piece.strip() else before
                section = sections[index][-1] if sections[index] else section
            title = _title(reader)
    except LimitReachedError as error:
        raise DocumentRefused(
            "too_large",
            "The PDF unpacks to more than is read of one document; split it or print it anew.",
        ) from error
    if not draft.text:
        raise DocumentRefused(
            "no_text",
            "The PDF holds no text: its pages are empty or images. Recognise their text (OCR) and "
            "send the result.",
        )
    return title


def limited() -> AbstractContextManager[Any]:
    """A block in which pypdf keeps to our limits."""
    return apply_configuration(**_LIMITS)


def open_pdf(data: bytes) -> PdfReader:
    """A reader of the file, decrypted where the empty password does it.

    Raises `DocumentRefused`: `encrypted`, or `too_large` for too many pages.
    """
    encrypted = DocumentRefused(
        "encrypted", "The PDF is protected by a password; remove it and send the file again."
    )
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise encrypted
    except (DependencyError, NotImplementedError) as error:
        # A cipher or a lock that nobody here can open.
        raise encrypted from error
    if len(reader.pages) > MAX_PAGES:
        raise DocumentRefused(
            "too_large",
            f"The PDF has {len(reader.pages)} pages; split it into files of at most {MAX_PAGES}.",
        )
    return reader


def _page_text(reader: PdfReader, index: int, deadline: Deadline) -> str:
    def check(*_: object) -> None:
        deadline.check()

    deadline.check()
    try:
        return only_text(reader.pages[index].extract_text(visitor_operand_before=check))
    except (DocumentRefused, LimitReachedError):
        raise
    except Exception as error:
        raise DocumentRefused(
            "damaged",
            f"Page {index + 1} of the PDF cannot be read; print the file to a new PDF and send "
            "that.",
        ) from error


def _sections(reader: PdfReader, deadline: Deadline) -> dict[int, list[str]]:
    """The outline's titles by the index of their page, in order."""
    found: dict[int, list[str]] = defaultdict(list)
    try:
        for entry in _flat(reader.outline):
            deadline.check()
            index = reader.get_destination_page_number(entry)
            title = one_line(only_text(str(entry.title or "")))
            if index is not None and index >= 0 and title:
                found[index].append(title)
    except DocumentRefused:
        raise
    except Exception:
        # The pages do not need it.
        return defaultdict(list)
    return found


def _flat(outline: Any) -> Iterator[Destination]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _flat(entry)
        else:
            yield entry


def _split(
    text: str, titles: list[str], section: str | None, deadline: Deadline
) -> Iterator[tuple[str | None, str]]:
    """A page's text cut before the headings that the outline names; `section` comes from before.

    One that is not found stands for the top of the page, unless another was found before it.
    """
    start, found = 0, False
    for title in titles:
        deadline.check()
        words = map(re.escape, title.split()[:_TITLE_WORDS])
        heading = re.compile(_NUMBERED + r"\s+".join(words), re.MULTILINE | re.IGNORECASE)
        match = heading.search(text, start)
        if match and match.start() > start:
            yield section, text[start : match.start()]
            start = match.start()
        if match or not found:
            section, found = title, bool(match)
    yield section, text[start:]


def _runs_on(before: str, after: str) -> bool:
    """Whether a sentence goes on over the end of a page; passages should not be cut there."""
    end, start = before.rstrip()[-1:], after.lstrip()[:1]
    return (end.isalnum() or end in (",", ";", "-")) and start.islower()


def _title(reader: PdfReader) -> str | None:
    try:
        title = one_line(only_text(str((reader.metadata and reader.metadata.title) or "")))
    except Exception:
        return None
    return title if any(map(str.isalnum, title)) and not _NO_TITLE.fullmatch(title) else None
