"""HTML pages: their visible text, one paragraph per block element, in sections by their headings.

Knows tags; loads nothing and runs nothing.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

from retrieval.deadline import Deadline
from retrieval.marks import Draft
from retrieval.text import one_line

_NOT_READ = re.compile(r"<!--|<[!?]|<(script|style)(?=[\s/>])", re.IGNORECASE | re.ASCII)
_END = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE | re.ASCII)
    for name in ("script", "style")
}
_MOST_OF_A_ROW = 2_000  # characters


def read_html(page: str, draft: Draft) -> str | None:
    """Put a page's visible text into the draft; returns its title, if it has one.

    Raises `DocumentRefused` as `Draft.add` does, and `too_large` for work that takes too long.
    """
    parser = _Page()
    parser.feed(_tame(page))
    parser.close()
    section: str | None = None
    for heading, pieces in parser.sections:
        # A heading without words starts no section of its own.
        section = one_line("".join(heading)) or section
        draft.add(_paragraphs("".join(pieces)), section=section)
    return parser.title()


def _paragraphs(text: str) -> str:
    lines = [one_line(line) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _tame(page: str) -> str:
    """The page without comments, scripts and styles, and without tags that never end.

    Each of these makes the standard parser look through the rest of the page again: a small file
    full of them would keep it busy for hours. A script goes first: what it compares is no comment.
    """
    pieces = []
    position = 0
    endless: set[str] = set()  # elements of which no end follows any more
    while opening := _NOT_READ.search(page, position):
        pieces.append(page[position : opening.start()])
        if element := (opening[1] or "").lower():
            closed = None if element in endless else _END[element].search(page, opening.end())
            end = page.find(">", closed.end()) if closed is not None else -1
            if end < 0:
                endless.add(element)  # the parser hides what follows
                pieces.append(opening[0])
            position = opening.end() if end < 0 else end + 1
            continue
        closing = "-->" if opening[0] == "<!--" else ">"
        end = page.find(closing, opening.end())
        position = len(page) if end < 0 else end + len(closing)
    text = "".join([*pieces, page[position:]])
    complete = text.rfind(">") + 1
    return text[:complete] + text[complete:].replace("<", "&lt;")


@dataclass(slots=True)
class _Row:
    """A table's row: where its cells begin among the pieces of text. `whole` is false for what is none."""

    pieces: list[str]
    start: int
    cells: list[int] = field(default_factory=list)
    whole: bool = True

    def texts(self, pieces: list[str]) -> list[str] | None:
        """Its cells' texts, each in one line; None unless it is a row of a table of facts."""
        # A heading within starts a section; a single cell, or a long one, is there for the layout.
        if not self.whole or pieces is not self.pieces or len(self.cells) < 2:
            return None
        if sum(map(len, pieces[self.start :])) > _MOST_OF_A_ROW:
            return None
        ends = [*self.cells[1:], len(pieces)]
        cells = [one_line("".join(pieces[a:b])) for a, b in zip(self.cells, ends, strict=True)]
        return cells if any(cells) else None


class _Page(HTMLParser):
    """Collects the visible text of a page; `sections` are pairs of a heading's words and a text."""

    _HIDDEN = frozenset({"script", "style", "template", "title"})
    _HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
    _BLOCKS = frozenset(
        {"address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "fieldset"}
        | {"figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"}
        | {"hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul"}
    )
    _LINES = frozenset({"br", "li", "tr"})
    _CELLS = frozenset({"td", "th"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._hidden: Counter[str] = Counter()  # open elements whose text is not seen
        self._deadline = Deadline()
        self.sections: list[tuple[list[str], list[str]]] = [([], [])]
        self._titles: dict[str, list[str]] = {"title": [], "h1": []}
        self._open_title: str | None = None
        self._open_heading: str | None = None
        self._rows: list[_Row] = []  # open ones, of tables in tables

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._deadline.check()
        if tag in self._HIDDEN:
            self._hidden[tag] += 1
        # The first title and the first h1 count; drawings inside a page have titles too.
        if tag in self._titles and not self._titles[tag]:
            self._open_title = tag
        if tag in self._HEADINGS and not self._hidden:
            self.sections.append(([], []))
            self._open_heading = tag
        if tag == "tr" and self._rows:
            self._end_row()  # one without an end tag
        if tag in self._BLOCKS:
            self._pieces.append("\n\n")
        elif tag in self._LINES:
            self._pieces.append("\n")
        if tag == "table":
            self._rows.append(_Row(self._pieces, len(self._pieces), whole=False))
        elif tag == "tr" and self._rows:
            self._rows[-1] = _Row(self._pieces, len(self._pieces))
        elif tag in self._CELLS:
            self._pieces.append(" ")
            if self._rows:
                self._rows[-1].cells.append(len(self._pieces))

    def _end_row(self) -> None:
        """Write a row of several short cells as one line with borders, as tables of other files are."""
        row = self._rows[-1]
        cells = row.texts(self._pieces)
        if cells is not None:
            row.pieces[row.start :] = [f"| {' | '.join(cells)} |"]
        self._rows[-1] = _Row(self._pieces, len(self._pieces), whole=False)

    def handle_endtag(self, tag: str) -> None:
        self._deadline.check()
        if self._hidden[tag] > 1:
            self._hidden[tag] -= 1
        else:
            del self._hidden[tag]
        if tag == self._open_title:
            self._open_title = None
        if tag == self._open_heading:
            self._open_heading = None
        if tag in ("tr", "table") and self._rows:
            self._end_row()
        if tag == "table" and self._rows:
            self._rows.pop()
            if self._rows:
                self._rows[-1].whole = False  # a table in a cell: the outer one is for the eye
        if tag in self._BLOCKS:
            self._pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._open_title:
            self._titles[self._open_title].append(data)
        if not self._hidden:
            if self._open_heading:
                self.sections[-1][0].append(data)
            self._pieces.append(re.sub(r"\s+", " ", data))

    @property
    def _pieces(self) -> list[str]:
        return self.sections[-1][1]

    def title(self) -> str | None:
        joined = (one_line("".join(self._titles[tag])) for tag in ("title", "h1"))
        return next((title for title in joined if title), None)
