"""Windows: the pieces of a document that self-study talks about.

A window is a run of whole sentences or lines, headed by the document's title and by the nearest
heading, so that it can be understood alone (the chunks of Cartridges, arXiv 2506.06266, section 4.1). What
makes no sense alone never begins one: the pronoun's sentence goes with the one before, an answer with its
question, a row with its table's head, a list's number with its item.
This file knows text, not tokens: it is handed a function that counts them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_SENTENCE = re.compile(r"[^\n]*?[.!?](?=\s+[A-Z0-9\"'(]|\s*\n|\s*$)|[^\n]+")
_MARKER = re.compile(r"\W*(?:\d+|[A-Za-z]|[ivxlc]+)[.)]")
_UNENDED = re.compile(
    r".*(?:\.\.|\b(?:[A-Z]|No|Nos|Dr|Mr|Mrs|Ms|Prof|St|Art|Fig|Sec|vs|cf|approx|ca|e\.g|i\.e)\.)"
)
_LEANING = re.compile(r"(?:It|Its|He|His|She|Her|They|Their)\b")
_LABELLED = re.compile(r"[^:.!?]{2,40}: \S")
_RULE = re.compile(r"[\s|:+=_-]+")
_NUMBERED_TITLE = re.compile(r"\d+[.)]\s+[^.!?:;,]{2,60}")
_BULLET = re.compile(r"[-*•–(]")
_LONGEST_PIECE = 400  # characters; a longer piece is cut at spaces
_LONGEST_HEADING = 80


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence or line with the heading it stands under, and whether it begins a line.

    One that `leans` is not to be understood without the piece before it.
    """

    text: str
    heading: str
    begins_line: bool
    leans: bool = False


def split_pieces(text: str) -> list[Piece]:
    """Sentences and lines of a document in order; headings travel with what follows them."""
    pieces: list[Piece] = []
    heading = ""
    for block in re.split(r"\n[^\S\n]*\n", text):
        lines = [line.strip() for line in block.split("\n")]
        lines = [line for line in lines if line and not _RULE.fullmatch(line)]
        while lines and lines[0].startswith("#"):
            heading = lines.pop(0)
        under = heading
        if _is_headed(lines):
            under = f"{heading}\n{lines[0]}" if heading else lines[0]
            del lines[0]
        for line in lines:
            if line.startswith("#"):
                heading = under = line
                continue
            of_line = _pieces(line, under)
            if pieces and pieces[-1].text.endswith("?") and pieces[-1].heading == under:
                asked = pieces[-1]  # with its answer
                whole = f"{asked.text}\n{of_line[0].text}"
                if len(whole) <= _LONGEST_PIECE:
                    pieces[-1] = replace(asked, text=whole)
                    del of_line[0]
            pieces += of_line
    return pieces


def _is_headed(lines: Sequence[str]) -> bool:
    """Whether the first of a block's lines says what the others are about."""
    if len(lines) < 2:
        return False
    first, rest = lines[0], lines[1:]
    for sign in ("|", ",", ";", "\t"):
        columns = first.count(sign)
        alike = columns and len(rest) > 1 and all(line.count(sign) == columns for line in rest)
        if alike and not any(c.isdigit() for c in first):
            return True
    if _NUMBERED_TITLE.fullmatch(first):
        return not any(line[0].isdigit() for line in rest)
    return _is_title(first) and not all(_is_title(line) for line in rest)


def _is_title(line: str) -> bool:
    """Whether a line names something and says nothing of it."""
    return (
        len(line) <= _LONGEST_HEADING
        and line[-1].isalnum()
        and not any(c.isdigit() or c in ":|,;=" for c in line)
        and ".." not in line
        and not _BULLET.match(line)
    )


def _pieces(line: str, heading: str) -> list[Piece]:
    """The pieces of one line, at least one."""
    sentences = _sentences(line)
    subject, *rest = sentences
    short = len(subject) <= _LONGEST_HEADING and ":" not in subject
    if short and len(rest) > 1 and all(_LABELLED.match(each) for each in rest):
        under = f"{heading}\n{subject}" if heading else subject
        return [Piece(each, under, count == 0) for count, each in enumerate(rest)]
    return [
        Piece(each, heading, count == 0, count > 0 and _LEANING.match(each) is not None)
        for count, each in enumerate(sentences)
    ]


def _sentences(line: str) -> list[str]:
    """Whole sentences: a mark of a list, an abbreviation or a few signs are none."""
    found: list[str] = []
    for match in _SENTENCE.finditer(line):
        sentence = match.group().strip()
        joined = f"{found[-1]} {sentence}" if found else ""
        if found and _is_unended(found[-1]) and len(joined) <= _LONGEST_PIECE:
            found[-1] = joined
        else:
            found.append(sentence)
    cut: list[str] = []
    for sentence in found:
        while len(sentence) > _LONGEST_PIECE:
            space = sentence.rfind(" ", 1, _LONGEST_PIECE)
            at = space if space > 0 else _LONGEST_PIECE
            cut.append(sentence[:at])
            sentence = sentence[at:].strip()
        if sentence:
            cut.append(sentence)
    return cut


def _is_unended(sentence: str) -> bool:
    marked = _MARKER.fullmatch(sentence) or _UNENDED.fullmatch(sentence)
    return marked is not None or sum(map(str.isalpha, sentence)) < 3


def _title(text: str) -> str:
    """The document's first line where it is a title, which windows carry along."""
    first = text.strip().split("\n", 1)[0].strip()
    if first.startswith("#"):
        return first[:200]
    return first if len(first) <= 100 and not first.endswith((".", "!", "?", ",")) else ""


class Windows:
    """The windows of one text; `tokens` counts the tokens of a piece."""

    def __init__(self, text: str, tokens: Callable[[str], int]) -> None:
        self._title = _title(text)
        self._pieces = split_pieces(text) or [Piece(text.strip()[:_LONGEST_PIECE], "", True)]
        self._sizes = [tokens(piece.text) for piece in self._pieces]

    def __len__(self) -> int:
        """How many pieces a window may begin with."""
        return len(self._pieces)

    def at(self, start: int, budget: int) -> str:
        """The window of about `budget` tokens (title and headings not counted) from piece `start` on.

        It holds that piece at least, and what it leans on; where the text ends early it reaches back.
        """
        pieces, sizes, title = self._pieces, self._sizes, self._title
        wanted, start = start, self._upright(start)
        end, size = start, 0
        while end < len(pieces) and (end <= wanted or size + sizes[end] <= budget):
            size += sizes[end]
            end += 1
        while end == len(pieces) and start > 0 and size + sizes[start - 1] <= budget:
            start -= 1
            size += sizes[start]
        return _joined(pieces[self._upright(start) : end], title)

    def _upright(self, start: int) -> int:
        """The nearest piece, this or an earlier one, that can be understood alone."""
        far = start
        while far and self._pieces[far].leans:
            far -= 1
        length = sum(len(piece.text) for piece in self._pieces[far:start])
        return far if length <= _LONGEST_PIECE else start


def _joined(pieces: list[Piece], title: str) -> str:
    lines = [title] if title and title != pieces[0].text else []
    heading = title
    for piece in pieces:
        if piece.heading and piece.heading != heading:
            lines.append(piece.heading.removeprefix(f"{title}\n"))
            heading = piece.heading
            lines.append(piece.text)
        elif piece.begins_line or not lines or lines[-1] in (title, heading):
            lines.append(piece.text)
        else:
            lines[-1] += " " + piece.text
    return "\n".join(lines)
