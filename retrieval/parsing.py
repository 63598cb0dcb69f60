"""Parsing: uploaded bytes become a title and clean text.

Reads plain text, Markdown and HTML. Knows nothing of where documents are kept.
"""

import codecs
import re
import unicodedata
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import PurePath

from retrieval.errors import DocumentRefused

SUPPORTED = "plain text (.txt), Markdown (.md) and HTML (.html)"
MAX_TITLE_CHARACTERS = 300

_KIND_OF_SUFFIX = {
    ".txt": "plain",
    ".text": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
}
_KIND_OF_TYPE = {
    "text/plain": "plain",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
}
# What clients send when they do not know the type.
_UNKNOWN_TYPES = {"", "application/octet-stream"}
_FOREIGN_MAGIC = (b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

_HEADING = re.compile(r" {0,3}#{1,6}\s")
_UNDERLINE = re.compile(r" {0,3}=+\s*")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_COMMENT = re.compile(r"<!--|<[!?]")
_LONGEST_TITLE_LINE = 80


@dataclass(frozen=True)
class Parsed:
    """A document's title and its text (NFC, `\\n` line endings, no byte-order mark)."""

    title: str
    text: str


def parse(
    data: bytes,
    filename: str | None = None,
    content_type: str | None = None,
    *,
    max_bytes: int = 16_000_000,
) -> Parsed:
    """Read an upload; the file name's suffix decides its kind, else the content type.

    Raises `DocumentRefused`: `too_large`, `unsupported_type`, `not_text` or `empty`.
    """
    if len(data) > max_bytes:
        raise DocumentRefused(
            "too_large", f"The file has {len(data)} bytes; split it into files below {max_bytes}."
        )
    kind = _kind(data, filename, content_type)
    text = normalise(_decode(data))
    stem = PurePath(filename).stem.strip() if filename else ""
    title = _first_heading(text) if kind == "markdown" else None
    if kind == "html":
        page = _Page()
        page.feed(_tame(text))
        page.close()
        # Character references can name what the bytes did not hold.
        text, title = normalise(page.text()), page.title()
    require_text(text)
    return Parsed(_shorten(title or _first_line(text) or stem or "Untitled"), text)


def normalise(text: str) -> str:
    """The text in NFC with `\\n` line endings.

    Raises `DocumentRefused("not_text")` for NUL characters and lone surrogates.
    """
    if not is_text(text):
        raise DocumentRefused(
            "not_text", "The document is not text (it holds binary data); send UTF-8 text."
        )
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def is_text(text: str) -> bool:
    """Whether the string can be stored as UTF-8 text: no NUL, no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def require_text(text: str) -> str:
    """The text itself. Raises `DocumentRefused("empty")` when there is nothing to read in it."""
    if not text.strip():
        raise DocumentRefused("empty", "The document holds no text; send one that does.")
    return text


def title_of(text: str) -> str | None:
    """The first Markdown heading, else the first line with a letter or digit, if it is short."""
    return _first_heading(text) or _first_line(text)


def _first_heading(text: str) -> str | None:
    fenced = False
    above = ""
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            if _HEADING.match(line) and (title := _without_hashes(line)):
                return title
            if 0 < len(above) <= _LONGEST_TITLE_LINE and _UNDERLINE.fullmatch(line):
                return _one_line(above)
        above = line.strip()
    return None


def _without_hashes(heading: str) -> str:
    title = heading.strip().lstrip("#").strip()
    # Closing hashes stand apart from the title, unlike the one in "C#".
    unclosed = title.rstrip("#")
    return _one_line(unclosed if unclosed.endswith((" ", "\t")) else title)


def _first_line(text: str) -> str | None:
    lines = (line for line in text.split("\n") if any(map(str.isalnum, line)))
    first = _one_line(next(lines, ""))
    return first if 0 < len(first) <= _LONGEST_TITLE_LINE else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shorten(title: str) -> str:
    return _one_line(title)[:MAX_TITLE_CHARACTERS].strip()


def _kind(data: bytes, filename: str | None, content_type: str | None) -> str:
    suffix = PurePath(filename).suffix.lower() if filename else ""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    foreign = data.startswith(_FOREIGN_MAGIC)
    if not foreign and suffix in _KIND_OF_SUFFIX:
        return _KIND_OF_SUFFIX[suffix]
    if not foreign and media_type in _KIND_OF_TYPE:
        return _KIND_OF_TYPE[media_type]
    if not foreign and not suffix and media_type in _UNKNOWN_TYPES:
        return "plain"
    named = suffix or media_type or "this type"
    raise DocumentRefused(
        "unsupported_type", f"Files of type {named} cannot be read yet; send {SUPPORTED}."
    )


def _decode(data: bytes) -> str:
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentRefused(
            "not_text", "The file is not UTF-8 text; save it as UTF-8 and send it again."
        ) from error


def _tame(page: str) -> str:
    """The page without comments and without tags that never end.

    Each of these makes the standard parser look through the rest of the page again: a small file
    full of them would keep it busy for hours.
    """
    pieces = []
    position = 0
    while opening := _COMMENT.search(page, position):
        pieces.append(page[position : opening.start()])
        closing = "-->" if opening[0] == "<!--" else ">"
        end = page.find(closing, opening.end())
        position = len(page) if end < 0 else end + len(closing)
    text = "".join([*pieces, page[position:]])
    complete = text.rfind(">") + 1
    return text[:complete] + text[complete:].replace("<", "&lt;")


class _Page(HTMLParser):
    """Collects the visible text of a page, one paragraph per block element."""

    _HIDDEN = frozenset({"script", "style", "template", "title"})
    _BLOCKS = frozenset(
        {"address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "fieldset"}
        | {"figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"}
        | {"hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul"}
    )
    _LINES = frozenset({"br", "li", "tr"})
    _CELLS = frozenset({"td", "th"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._hidden: list[str] = []
        self._pieces: list[str] = []
        self._titles: dict[str, list[str]] = {"title": [], "h1": []}
        self._open_title: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._HIDDEN:
            self._hidden.append(tag)
        # The first title and the first h1 count; drawings inside a page have titles too.
        if tag in self._titles and not self._titles[tag]:
            self._open_title = tag
        if tag in self._BLOCKS:
            self._pieces.append("\n\n")
        elif tag in self._LINES:
            self._pieces.append("\n")
        elif tag in self._CELLS:
            self._pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            self._hidden.remove(tag)
        if tag == self._open_title:
            self._open_title = None
        if tag in self._BLOCKS:
            self._pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._open_title:
            self._titles[self._open_title].append(data)
        if not self._hidden:
            self._pieces.append(re.sub(r"\s+", " ", data))

    def title(self) -> str | None:
        joined = (_one_line("".join(self._titles[tag])) for tag in ("title", "h1"))
        return next((title for title in joined if title), None)

    def text(self) -> str:
        lines = [_one_line(line) for line in "".join(self._pieces).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
