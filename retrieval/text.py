"""Clean text: what may be stored as text, and in which form.

Knows characters; knows nothing of files, headings or where a text comes from.
"""

import re
import unicodedata

from retrieval.errors import DocumentRefused

MAX_TITLE_CHARACTERS = 300
HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of Chinese and Japanese, for a class of a regular expression: no spaces part their words."""
# Far more than any script puts upon a letter. Bringing a run of marks into order takes its square, in time.
_MOST_MARKS = 256
_NO_LATIN = re.compile(rf"[^\x00-\u02ff]{{{_MOST_MARKS + 1},}}")  # the marks are all beyond that
_MADE_OF_MARKS = "\u0f73\u0f75\u0f81"  # and none themselves
LONGEST_TITLE_LINE = 80


def normalise(text: str) -> str:
    """The text in NFC with `\\n` line endings.

    Raises `DocumentRefused("not_text")` for NUL characters, lone surrogates and endless runs of marks.
    """
    if not is_text(text):
        raise DocumentRefused(
            "not_text", "The document is not text (it holds binary data); send UTF-8 text."
        )
    if any(map(_is_stacked, _NO_LATIN.findall(text))):
        raise DocumentRefused(
            "not_text",
            f"The document has more than {_MOST_MARKS} combining marks in a row; send plain text.",
        )
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def _is_stacked(text: str) -> bool:
    """Whether more marks follow each other than there may be."""
    marks = 0
    for character in text:
        is_mark = unicodedata.combining(character) or character in _MADE_OF_MARKS
        marks = marks + 1 if is_mark else 0
        if marks > _MOST_MARKS:
            return True
    return False


def is_text(text: str) -> bool:
    """Whether the string can be stored as UTF-8 text: no NUL, no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def only_text(text: str) -> str:
    """The text without what could not be stored, nor be read by a person: control characters.

    For texts that a program put together, where one odd character is no reason to refuse the rest.
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def require_text(text: str) -> str:
    """The text itself. Raises `DocumentRefused("empty")` when there is nothing to read in it."""
    if not text.strip():
        raise DocumentRefused("empty", "The document holds no text; send one that does.")
    return text


def one_line(text: str) -> str:
    """The words of a text with one space between them."""
    return " ".join(text.split())


def shorten(title: str) -> str:
    """A title on one line, no longer than titles may be."""
    return one_line(title)[:MAX_TITLE_CHARACTERS].strip()


def first_line(text: str) -> str | None:
    """The first line with a letter or digit, if it is short enough to be a title."""
    lines = (line for line in text.split("\n") if any(map(str.isalnum, line)))
    first = one_line(next(lines, ""))
    return first if 0 < len(first) <= LONGEST_TITLE_LINE else None
