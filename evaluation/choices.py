"""Multiple choice: which option an answer names, if it names one.

An answer that names none, or several, is invalid: it counts as wrong and is reported. Knows no
question and no reader.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.datasets.questions import LETTERS
from evaluation.scoring import normalise

# A letter that stands for an option: alone or with a mark behind it at the start, or after words that
# announce it. "A dog" and "the answer is a dog" name no option: there the letter is an article.
_ALONE = re.compile(r"\(?([A-Za-z])\)?[.):]?$")
_FIRST = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])[.):])(?=\s|$)")
_ANNOUNCED = re.compile(
    r"\b(?:(?:answers?|options?|choices?)\b(?:\s+(?:is|are))?|it\s+is|it['’]s)\s*:?\s*"
    r"(?:\(([A-Za-z])\)|([A-Z])\b(?!['’])|([a-z])(?=\s*(?:[.,;:)]|$)))",
    re.IGNORECASE,
)


def choice(answer: str, options: Sequence[str]) -> int | None:
    """The place of the option that an answer names; None when it names none or more than one.

    In this order: the answer is an option's text; it is a letter or begins with one ("B", "(b)",
    "B. Paris"), unless an option's own text does ("B. Jones"); it announces letters ("the answer is B"),
    all the same; it contains the text of one option as whole words. A letter in front of another option's
    text contradicts itself: None.
    """
    plain = answer.replace("*", "").strip()
    whole = _same(plain, options)
    if whole is not None:
        return whole
    alone = _ALONE.match(plain)
    if alone:
        return _place(alone.group(1), options)
    named = _named_at(plain, options)
    if named is not None:
        return named
    first = _FIRST.match(plain)
    if first:
        named = _place(first.group(1) or first.group(2), options)
        beside = _same(plain[first.end() :], options)
        return named if beside in (None, named) else None
    announced = {
        _announced(match, options) for match in _ANNOUNCED.finditer(plain) if _is_letter(match)
    }
    if announced:
        return announced.pop() if len(announced) == 1 else None
    return _contained(plain, options)


def _announced(match: re.Match[str], options: Sequence[str]) -> int | None:
    """The option of an announced letter; "it is A. Smith" announces a name."""
    letter = next(place for place, found in enumerate(match.groups(), 1) if found)
    named = _named_at(match.string[match.start(letter) :], options)
    return _place(match[letter], options) if named is None else named


def _named_at(text: str, options: Sequence[str]) -> int | None:
    """The option that begins with an initial, as a letter in front of an option would, and that the text
    begins with."""
    for place, option in enumerate(map(str.strip, options)):
        if _FIRST.match(option) and re.match(rf"{re.escape(option)}(?!\w)", text, re.IGNORECASE):
            return place
    return None


def _is_letter(match: re.Match[str]) -> bool:
    # IGNORECASE is for the announcing words alone: a small letter needs an end behind it.
    bare = match.group(2)
    if bare is None or bare.isupper():
        return True
    return re.match(r"\s*(?:[.,;:)]|$)", match.string[match.end() :]) is not None


def _place(letter: str, options: Sequence[str]) -> int | None:
    place = LETTERS.index(letter.upper())
    return place if place < len(options) else None


def _same(text: str, options: Sequence[str]) -> int | None:
    wanted = normalise(text)
    found = [place for place, option in enumerate(options) if normalise(option) == wanted]
    return found[0] if wanted and len(found) == 1 else None


def _contained(answer: str, options: Sequence[str]) -> int | None:
    said = f" {normalise(answer)} "
    texts = [normalise(option) for option in options]
    found = [place for place, text in enumerate(texts) if text and f" {text} " in said]
    # "cat" inside "black cat" names the black cat, where both are options.
    longest = [
        place
        for place in found
        if not any(place != other and f" {texts[place]} " in f" {texts[other]} " for other in found)
    ]
    return longest[0] if len(longest) == 1 else None


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """Questions answered right; all questions; of these, the answers that named no one option."""

    right: int
    asked: int
    invalid: int

    @property
    def accuracy(self) -> float | None:
        """Right answers over all questions, invalid answers among the wrong ones; None for none."""
        return self.right / self.asked if self.asked else None


def score_choices(picked: Sequence[int | None], golds: Sequence[int]) -> ChoiceScore:
    """The score of what `choice` found. Raises ValueError when the two differ in length."""
    pairs = list(zip(picked, golds, strict=True))
    return ChoiceScore(
        sum(found == gold for found, gold in pairs),
        len(pairs),
        sum(found is None for found, _ in pairs),
    )
