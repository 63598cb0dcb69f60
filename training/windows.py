"""Windows: the pieces of a document that self-study talks about.

A window is a run of whole sentences or lines, headed by the document's title and by the nearest
heading, so that it can be understood alone (the chunks of Cartridges, arXiv 2506.06266, section 4.1).
This file knows text, not tokens: it is handed a function that counts them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_SENTENCE = re.compile(r"[^\n]*?[.!?](?=\s+[A-Z0-9\"'(]|\s*\n|\s*$)|[^\n]+")
_LONGEST_PIECE = 400  # characters; a longer piece is cut at spaces


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence or line with the heading it stands under, and whether it begins a line."""

    text: str
    heading: str
    begins_line: bool


def split_pieces(text: str) -> list[Piece]:
    """Sentences and lines of a document in order; headings travel with what follows them."""
    pieces: list[Piece] = []
    heading = ""
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped:
            continue
        if stripped.startswith("#"):
            heading = stripped
            continue
        for count, sentence in enumerate(_sentences(stripped)):
            pieces.append(Piece(sentence, heading, count == 0))
    return pieces


def _sentences(line: str) -> list[str]:
    found = [match.group().strip() for match in _SENTENCE.finditer(line)]
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


def title_line(text: str) -> str:
    """The document's first line, which windows carry along."""
    for line in text.split("\n"):
        if line.strip():
            return line.strip()[:200]
    return ""


class Windows:
    """The windows of one text; `tokens` counts the tokens of a piece."""

    def __init__(self, text: str, tokens: Callable[[str], int]) -> None:
        self._title = title_line(text)
        self._pieces = split_pieces(text) or [Piece(self._title, "", True)]
        self._sizes = [tokens(piece.text) for piece in self._pieces]

    def __len__(self) -> int:
        """How many pieces a window may begin with."""
        return len(self._pieces)

    def at(self, start: int, budget: int) -> str:
        """The window of about `budget` tokens (title and headings not counted) from piece `start` on.

        It holds that piece at least; where the text ends early it reaches back.
        """
        pieces, sizes, title = self._pieces, self._sizes, self._title
        end, size = start, 0
        while end < len(pieces) and (end == start or size + sizes[end] <= budget):
            size += sizes[end]
            end += 1
        while end == len(pieces) and start > 0 and size + sizes[start - 1] <= budget:
            start -= 1
            size += sizes[start]
        return _joined(pieces[start:end], title)


def _joined(pieces: list[Piece], title: str) -> str:
    lines = [title] if title and title != pieces[0].text else []
    heading = title
    for piece in pieces:
        if piece.heading and piece.heading != heading:
            lines.append(piece.heading)
            heading = piece.heading
            lines.append(piece.text)
        elif piece.begins_line or not lines or lines[-1] in (title, heading):
            lines.append(piece.text)
        else:
            lines[-1] += " " + piece.text
    return "\n".join(lines)
