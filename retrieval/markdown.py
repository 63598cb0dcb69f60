"""Markdown: where its headings are, which name its title and its sections.

Knows the marks of headings and code fences; renders nothing.
"""

import re
from collections.abc import Iterator, Sequence

from retrieval.marks import MAX_MARKS, Mark
from retrieval.text import LONGEST_TITLE_LINE, first_line, one_line, only_text, shorten

_HEADING = re.compile(r" {0,3}#{1,6}\s")
_UNDERLINE = re.compile(r" {0,3}=+\s*")
_DASHES = re.compile(r" {0,3}-+\s*")
_FENCE = re.compile(r" {0,3}(```|~~~)")
# What stands above a row of dashes without being its heading: a quote, an item, a table's head.
_NO_HEADING = re.compile(r"[>#|]|[-*+] |\d+[.)] |.*\|")


def title_of(text: str) -> str | None:
    """The first heading, no longer than titles may be, else the first line with a letter or digit, if it is
    short."""
    return only_text(shorten(first_heading(text) or "") or first_line(text) or "") or None


def first_heading(text: str) -> str | None:
    """The title that the first heading names, if there is a heading."""
    return next((title for _, title, dashed in _headings(text) if not dashed), None)


def section_marks(text: str) -> tuple[Mark, ...]:
    """A mark at every heading; what stands before the first one is in no section."""
    return tuple(Mark.of(start, section=title) for start, title, _ in _headings(text))


def choose_marks(
    given: Sequence[Mark] | None, held: tuple[Mark, ...], text: str
) -> tuple[Mark, ...]:
    """The marks that came with a text, else those it had: what page it was is not forgotten.

    When nobody gave any (None), its headings are its marks.
    """
    chosen = tuple(given or ()) or held
    if not chosen and given is None:
        chosen = section_marks(text)
    # A text that is all headings has no sections.
    return chosen if len(chosen) <= MAX_MARKS else ()


def _headings(text: str) -> Iterator[tuple[int, str, bool]]:
    """Start and title of each heading, and whether a row of dashes made it one.

    A row of dashes also ends front matter and parts a text: such a heading names a section and
    not the whole document.
    """
    fenced = False
    above, above_start, before = "", 0, ""
    start = 0
    for line in text.split("\n"):
        title_above = 0 < len(above) <= LONGEST_TITLE_LINE
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            if _HEADING.match(line) and (title := _without_hashes(line)):
                yield start, title, False
            elif title_above and _UNDERLINE.fullmatch(line) and not _HEADING.match(above):
                yield above_start, one_line(above), False
            elif (
                title_above
                and not before
                and _DASHES.fullmatch(line)
                and not _NO_HEADING.match(above)
                and any(map(str.isalnum, above))
            ):
                yield above_start, one_line(above), True
        before, above, above_start = above, line.strip(), start
        start += len(line) + 1


def _without_hashes(heading: str) -> str:
    title = heading.strip().lstrip("#").strip()
    # Closing hashes stand apart from the title, unlike the one in "C#".
    unclosed = title.rstrip("#")
    return one_line(unclosed if unclosed.endswith((" ", "\t")) else title)
