"""Passages: sentences of documentation with names, numbers and words of the world put in, and short lines.

Templates teach a reader to answer templates. Passages come from sentences that no template wrote, or are
told by a small grammar (`clauses.py`); names, numbers and words of the world take the place of some of
theirs, so that nothing can be remembered. This file knows sentences; it knows no question and no tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from reader import names
from reader.clauses import Clauses
from reader.forms import IN_OTHER_FORMS, UNITS
from reader.lexicon import FUNCTION_WORDS
from reader.names import Split
from reader.parts import Parts
from reader.sayings import Told
from reader.tables import Tables

PARTING = (",", "|", "–", ";", ":")
"""What stands between two values."""
MARKS = ',:;|–"() '
"""What may stand about a word."""
_TOLD = 0.5  # share of passages that a grammar tells
_LINES = 0.2  # share of the others that are lines of a register
_SERIES = 0.25  # share of passages that are followed by others of the same make
_SPOKEN = 0.07  # share of sentences that somebody says
_DONE = 0.35  # share of sentences without a subject that are given a person who does what they say
_OTHERWISE = 0.2  # share of values in another form than the world writes them in
_AROUND = (("", ""),) * 8 + (("(", ")"), ('"', '"'))  # marks about a value
_PUT_IN: dict[str, Callable[[Random, Split], str]] = {
    "person": names.person,
    "place": names.place,
    "day": names.date,
    "hour": names.moment,
    "number": names.number,
    "amount": lambda rng, split: names.amount(rng, split, UNITS),
    "name": names.proper,
    "code": names.code,
}


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence or line, and its words with the kind of thing that each of them is.

    Kinds: `person`, `place`, `day`, `hour`, `number`, `amount`, `name` and `code` for what was put in,
    `word` for a content word, empty for a function word or a very short one. Words keep their punctuation.
    What a grammar told brings its questions: `asks`, with their answers (empty where the text is it), and
    `open`, which it leaves open.
    """

    text: str
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    asks: tuple[tuple[str, str], ...] = ()
    open: tuple[str, ...] = ()

    def goes_on(self, place: int) -> bool:
        """Whether the word at `place` belongs to the value of the word before it."""
        if not place or self.kinds[place] in {"", "word"}:
            return False
        parted = self.words[place - 1].endswith(PARTING)
        return self.kinds[place] == self.kinds[place - 1] and not parted


class Passages:
    """Passages drawn from sentences."""

    def __init__(self, rng: Random, pool: Sequence[str], words: Sequence[str]) -> None:
        """`pool` are sentences, `words` the dictionary that other words are drawn from."""
        self._rng, self._pool, self._dictionary = rng, pool, words
        self._clauses = Clauses(rng, words)
        self._tables = Tables(rng, Parts(rng, words))

    def passages(self, count: int) -> list[Passage]:
        """So many passages; some are like the one before but for their values and a few words."""
        found: list[Passage] = []
        while len(found) < count:
            found.append(self.passage())
            if not found[-1].asks and self._rng.random() < _SERIES:
                found += [self._alike(found[-1]) for _ in range(self._rng.randint(1, 5))]
        return found[:count]

    def register(self, count: int) -> tuple[str, list[Passage]]:
        """A table or list as text, and its rows (fewer where two would be about the same)."""
        text, rows = self._tables.table(count)
        return text, [_passage(row) for row in rows]

    def _value(self, kind: str) -> list[str]:
        """Words of a fresh value; some hold a full stop that ends nothing ("J. Orlen", "4.2")."""
        rng = self._rng
        if kind == "word":
            return self._words(rng.randint(1, 3))
        if kind in IN_OTHER_FORMS and rng.random() < _OTHERWISE:
            return names.drawn(IN_OTHER_FORMS[kind], rng, "train").split(" ")
        value = _PUT_IN[kind](rng, "train")
        if kind == "number" and value.isdigit() and rng.random() < 0.3:
            value += f".{rng.randrange(10)}"
        pieces = value.split(" ")
        if kind == "person" and len(pieces) > 1 and rng.random() < 0.15:
            pieces[-2] = pieces[-2][0] + "."
        return pieces

    def _words(self, count: int) -> list[str]:
        """Words of the dictionary, none of them a noun or a value that evaluation may ask for."""

        def make(rng: Random) -> str:
            return " ".join(
                names.drawn(lambda r: r.choice(self._dictionary), rng, "train")
                for _ in range(count)
            )

        return names.drawn(make, self._rng, "train").split(" ")

    def _alike(self, passage: Passage) -> Passage:
        """The passage with other values, and with some of its words exchanged."""
        rng = self._rng
        exchanged = rng.choice((0.2, 0.4, 0.6))
        texts: list[str] = []
        kinds: list[str] = []
        for place, (word, kind) in enumerate(zip(passage.words, passage.kinds, strict=True)):
            if kind == "word":
                bare = word.rstrip(MARKS)
                other = self._words(1)[0] if rng.random() < exchanged else bare
                texts.append(_cased(other, word) + word[len(bare) :])
            elif not kind:
                texts.append(word)
            elif passage.goes_on(place):
                texts[-1] += word[len(word.rstrip(MARKS)) :]
                continue
            else:
                pieces = self._value(kind)
                pieces[0] = word[: len(word) - len(word.lstrip(MARKS))] + pieces[0]
                pieces[-1] += word[len(word.rstrip(MARKS)) :]
                texts += pieces
                kinds += [kind] * (len(pieces) - 1)
            kinds.append(kind)
        text = " ".join(texts) + "." * passage.text.endswith(".")
        return Passage(text[0].upper() + text[1:], tuple(texts), tuple(kinds))

    def passage(self) -> Passage:
        """One sentence with a few words exchanged, or a line of a register."""
        rng = self._rng
        if rng.random() < _TOLD:
            return self._told()
        if rng.random() < _LINES:
            return self._line()
        texts: list[str] = []
        kinds: list[str] = []
        if rng.random() < _SPOKEN:
            texts.append(f"{names.given(rng, 'train')}:")
            kinds.append("person")
        exchanged = rng.uniform(0.0, 0.2)
        sentence = rng.choice(self._pool)[:-1].split(" ")
        bidden = sentence[0].lower() not in FUNCTION_WORDS  # "Fetch a file"
        if bidden and not texts and rng.random() < _DONE:
            texts += self._value("person")
            kinds += ["person"] * len(texts)
            sentence[0] = sentence[0].lower()
        put_in = {rng.randrange(len(sentence)) for _ in range(rng.choice((0, 0, 1, 1, 2)))}
        for place, word in enumerate(sentence):
            bare = word.strip(",'-").lower()
            if bare in FUNCTION_WORDS or len(bare) < 3:
                texts.append(word)
                kinds.append("")
            elif place in put_in:
                kind = rng.choice(list(_PUT_IN))
                pieces = self._value(kind)
                opening, closing = rng.choice(_AROUND)
                pieces[0] = opening + pieces[0]
                pieces[-1] += closing + self._pause(word)
                texts += pieces
                kinds += [kind] * len(pieces)
            else:
                known = names.split_of(bare) == "train" and rng.random() >= exchanged
                other = bare if known else self._words(1)[0]
                texts.append(_cased(other, word) + self._pause(word))
                kinds.append("word")
        if sum(map(bool, kinds)) < 2:  # nothing to ask for, or nothing to ask by
            return self.passage()
        text = " ".join(texts) + "."
        return Passage(text[0].upper() + text[1:], tuple(texts), tuple(kinds))

    def _told(self) -> Passage:
        return _passage(self._clauses.told())

    def _pause(self, word: str) -> str:
        """What follows the word: nothing, or mostly its comma."""
        if not word.endswith(","):
            return ""
        return "," if self._rng.random() < 0.8 else self._rng.choice((";", ":", " –"))

    def _line(self) -> Passage:
        """Two to four entries side by side, as in a price list, a timetable or a register."""
        rng = self._rng
        between = rng.choice((",", ",", " –", ":", ";", " |", ""))
        texts: list[str] = []
        kinds: list[str] = []
        counted = rng.random() < 0.3  # "4 eggs", "120 g butter, soft"
        for place in range(rng.randint(2, 4)):
            if texts:
                texts[-1] += "" if counted and place == 1 else between
            kind = "word" if not place or rng.random() < 0.35 else rng.choice(list(_PUT_IN))
            if counted and place < 2:
                kind = "word" if place else rng.choice(("number", "amount"))
            pieces = self._value(kind)
            if kind == "word" and not texts and rng.random() < 0.8:
                pieces[0] = pieces[0].capitalize()
            texts += pieces
            kinds += [kind] * len(pieces)
        return Passage(" ".join(texts), tuple(texts), tuple(kinds))

    def title(self) -> str:
        """A few words that head a document."""
        rng = self._rng
        return " ".join(self._words(rng.randint(1, 3))).capitalize()


def _passage(told: Told) -> Passage:
    words = tuple(told.text.rstrip(".").split(" "))
    bare = (word.strip(MARKS).lower() for word in words)
    kinds = tuple("" if word in FUNCTION_WORDS or len(word) < 3 else "word" for word in bare)
    return Passage(told.text, words, kinds, told.asks, told.open)


def _cased(word: str, like: str) -> str:
    return word.capitalize() if like[:1].isupper() and not like.isupper() else word
