"""Word files (.docx): headings, paragraphs, lists and tables in reading order, by python-docx.

Knows no layout, so no pages; headers, footers, footnotes, comments and what was deleted in tracked
changes are left out. Trusts no package: `retrieval.package` has looked at it before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import docx
from docx.document import Document
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn

from retrieval.deadline import Deadline
from retrieval.marks import Draft
from retrieval.package import trusted
from retrieval.text import one_line, only_text

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_P, _TBL, _TR, _TC, _R = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc"), qn("w:r")
_BOX, _VALUE = qn("w:txbxContent"), qn("w:val")
_TEXT = {qn("w:t"), f"{_MATH}t"}
_FIXED = {
    qn("w:tab"): "\t",
    qn("w:ptab"): "\t",
    qn("w:br"): "\n",
    qn("w:cr"): "\n",
    qn("w:noBreakHyphen"): "-",
}
_SKIPPED = {qn(f"w:{name}") for name in ("del", "moveFrom", "pPr", "rPr", "sdtPr")} | {_FALLBACK}
_WRAPPERS = {
    qn(f"w:{name}") for name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag")
}
_BASES = 10  # styles build on styles; a file may have them build on themselves
_LEVELS = 9  # the outline level that says "no heading"


def read_docx(data: bytes, draft: Draft) -> str | None:
    """Put the document's text into the draft; returns its title, if it has one.

    Raises `DocumentRefused`: what `retrieval.package.trusted` and `Draft.add` raise, and
    `too_large` for work that takes too long. A damaged file may raise any other exception.
    """
    deadline = Deadline()
    document = docx.Document(BytesIO(trusted(data)))
    writer = _Writer(draft, _styles(document, deadline), deadline)
    writer.write(document.element.body)
    return writer.title or _property(document)


def _property(document: Any) -> str | None:
    """The title among the file's properties. Where it has none at all, the library would invent one."""
    package = document.part.package
    if not any(each.reltype == RELATIONSHIP_TYPE.CORE_PROPERTIES for each in package.rels.values()):
        return None
    return one_line(only_text(document.core_properties.title or "")) or None


@dataclass(frozen=True)
class _Style:
    """What a paragraph style makes of a paragraph."""

    name: str = ""
    heading: bool = False
    item: bool = False


class _Writer:
    """Writes blocks into a draft and remembers below which heading they stand."""

    def __init__(self, draft: Draft, styles: Mapping[str, _Style], deadline: Deadline) -> None:
        self.title: str | None = None
        self._draft = draft
        self._styles = styles
        self._deadline = deadline
        self._section: str | None = None
        self._in_list = False

    def write(self, body: Any) -> None:
        for block in _within(body, _P, _TBL):
            self._deadline.check()
            if block.tag == _TBL:
                self._add("\n".join(self._rows(block)))
            else:
                self._paragraph(block)

    def _paragraph(self, paragraph: Any) -> None:
        properties = paragraph.find(qn("w:pPr"))
        style = self._styles.get(_value(properties, "w:pStyle") or "", _Style())
        text = only_text(_text(paragraph)).strip()
        if not text or style.name.startswith("toc "):
            # A list of contents repeats the headings.
            return
        if style.name == "title" and self.title is None:
            self.title = one_line(text)
        level = _value(properties, "w:outlineLvl")
        if style.heading or (level is not None and _is_level(level)):
            self._section = one_line(text)
            self._add(text)
        elif style.item or (properties is not None and properties.find(qn("w:numPr")) is not None):
            self._add(f"- {text}", item=True)
        else:
            self._add(text)

    def _rows(self, table: Any) -> Iterator[str]:
        for row in _within(table, _TR):
            self._deadline.check()
            cells = [one_line(only_text(_blocks_text(cell))) for cell in _within(row, _TC)]
            if any(cells):
                yield f"| {' | '.join(cells)} |"

    def _add(self, text: str, *, item: bool = False) -> None:
        gap = "\n" if item and self._in_list else "\n\n"
        self._draft.add(text, section=self._section, gap=gap)
        self._in_list = item


def _within(parent: Any, *wanted: str) -> Iterator[Any]:
    """The children of these tags, also those that stand in content controls and the like."""
    for child in parent:
        if child.tag in wanted:
            yield child
        elif child.tag in _WRAPPERS:
            yield from _within(child, *wanted)


def _blocks_text(parent: Any) -> str:
    lines = []
    for block in _within(parent, _P, _TBL):
        if block.tag == _P:
            lines.append(_text(block))
        else:
            lines += [
                _blocks_text(cell) for row in _within(block, _TR) for cell in _within(row, _TC)
            ]
    return "\n".join(lines)


def _text(element: Any) -> str:
    """The words of a paragraph, or of anything within one."""
    pieces: list[str] = []
    for child in element:
        tag = child.tag
        if tag in _TEXT:
            pieces.append(child.text or "")
        elif tag in _FIXED:
            pieces.append(_FIXED[tag])
        elif tag == _BOX:
            pieces.append(f"\n{_blocks_text(child)}\n")
        elif isinstance(tag, str) and tag not in _SKIPPED and not _is_hidden(child):
            pieces.append(_text(child))
    return "".join(pieces)


def _is_hidden(element: Any) -> bool:
    if element.tag != _R:
        return False
    hidden = element.find(f"{qn('w:rPr')}/{qn('w:vanish')}")
    return hidden is not None and hidden.get(_VALUE) not in ("0", "false", "off")


def _styles(document: Document, deadline: Deadline) -> dict[str, _Style]:
    elements = {}
    for style in document.styles:
        deadline.check()
        elements[style.style_id] = style.element
    found = {}
    for id in elements:
        deadline.check()
        found[id] = _style(id, elements)
    return found


def _style(id: str, elements: Mapping[str, Any]) -> _Style:
    own = (_value(elements[id], "w:name") or "").lower()
    heading = item = False
    base: str | None = id
    for _ in range(_BASES):
        element = elements.get(base or "")
        if element is None:
            break
        name = (_value(element, "w:name") or "").lower()
        level = _value(element.find(qn("w:pPr")), "w:outlineLvl")
        heading = heading or name.startswith("heading ") or (level is not None and _is_level(level))
        item = item or name.startswith(("list bullet", "list number"))
        base = _value(element, "w:basedOn")
    return _Style(own, heading, item and not heading)


def _is_level(value: str) -> bool:
    return value.isascii() and value.isdigit() and int(value[:3]) < _LEVELS


def _value(parent: Any, tag: str) -> str | None:
    """The value of a child such as `<w:pStyle w:val="Heading1"/>`."""
    child = parent.find(qn(tag)) if parent is not None else None
    value: str | None = child.get(_VALUE) if child is not None else None
    return value
