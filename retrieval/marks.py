"""Marks: which page and which section each part of a text comes from.

Knows positions in a text; knows no file format and no passage.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from retrieval.errors import DocumentRefused
from retrieval.text import is_text, normalise, one_line, only_text

MAX_MARKS = 20_000
_LONGEST_SECTION = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """From the character `start` on, the text is of this page (from 1) and below this heading.

    It holds until the next mark. None says that the document has no pages, or that no heading
    stands above.
    """

    start: int
    page: int | None = None
    section: str | None = None

    @classmethod
    def of(cls, start: int, page: int | None = None, section: str | None = None) -> "Mark":
        """A mark whose section is one line of bounded length."""
        name = normalise(only_text((section or "")[: 4 * _LONGEST_SECTION]))
        return cls(start, page, one_line(name)[:_LONGEST_SECTION].strip() or None)


NOWHERE = Mark(0)


def mark_at(marks: Sequence[Mark], position: int) -> Mark:
    """The mark that covers a character; `NOWHERE` before the first one."""
    index = bisect_right(marks, position, key=lambda mark: mark.start)
    return marks[index - 1] if index else NOWHERE


def main_mark(marks: Sequence[Mark], start: int, end: int) -> Mark:
    """The mark that covers most of `text[start:end]`, the first of several that cover as much.

    Not the one at its start: a passage begins with the last words of the passage before it, which
    are often of the page or section before.
    """
    first = bisect_right(marks, start, key=lambda mark: mark.start)
    inside = marks[first : bisect_left(marks, end, lo=first, key=lambda mark: mark.start)]
    starts = [start, *(mark.start for mark in inside), end]
    longest = max(range(len(inside) + 1), key=lambda index: starts[index + 1] - starts[index])
    return inside[longest - 1] if longest else mark_at(marks, start)


def to_json(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """The marks as JSON values."""
    return [asdict(mark) for mark in marks]


def from_json(values: object) -> tuple[Mark, ...]:
    """The marks that `to_json` wrote. Raises `ValueError` for anything else."""
    if not isinstance(values, list) or len(values) > MAX_MARKS:
        raise ValueError("The marks are no list, or too many.")
    marks = tuple(map(_from_json, values))
    starts = [mark.start for mark in marks]
    if starts != sorted(set(starts)):
        raise ValueError("The marks are not in order.")
    return marks


def _is_section(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_SECTION and is_text(value)


def _from_json(value: object) -> Mark:
    if not isinstance(value, Mapping) or value.keys() != {"start", "page", "section"}:
        raise ValueError("A mark has start, page and section.")
    start, page, section = value["start"], value["page"], value["section"]
    fine = (
        type(start) is int
        and start >= 0
        and (page is None or (type(page) is int and page >= 1))
        and (section is None or _is_section(section))
    )
    if not fine:
        raise ValueError("A mark's start, page or section is not one.")
    return Mark(start, page, section)


class Draft:
    """A text while it is put together from its parts, each with the page and section it is from."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[str] = []
        self._marks: list[Mark] = []
        self._length = 0
        self._bytes = 0

    def add(
        self, part: str, *, page: int | None = None, section: str | None = None, gap: str = "\n\n"
    ) -> None:
        """Append a part behind `gap`; a blank one changes nothing.

        Raises `DocumentRefused`: `too_large` when the text has become that, `not_text` as
        `normalise` does.
        """
        # Each part on its own, so that the marks are right for the text as it will be stored.
        part = normalise(part).strip()
        if not part:
            return
        if self._pieces:
            self._append(gap)
        mark = Mark.of(self._length, page, section)
        last = self._marks[-1] if self._marks else NOWHERE
        if (last.page, last.section) != (mark.page, mark.section):
            self._marks.append(mark)
        self._append(part)

    def _append(self, piece: str) -> None:
        self._pieces.append(piece)
        self._length += len(piece)
        self._bytes += len(piece.encode("utf-8"))
        if self._bytes > self._max_bytes:
            raise DocumentRefused(
                "too_large",
                f"The document's text is larger than {self._max_bytes} bytes; split it into "
                "smaller ones.",
            )

    @property
    def text(self) -> str:
        """All parts so far: NFC, `\\n` line endings."""
        return "".join(self._pieces)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Where page or section change, in the order of the text."""
        return tuple(self._marks)
