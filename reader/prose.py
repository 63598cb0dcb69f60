"""Documents that no template wrote: sentences of real documentation, asked about and quoted.

Templates teach a reader to answer templates. To read what people write it has to find any sentence by
some of its words and to repeat it, whatever stands first in it. Sentences come from the docstrings of
installed Python packages; names, numbers and words of the world take the place of some of theirs, so
that nothing can be remembered. A question is what is left of a sentence when a span is asked for;
its answer quotes the sentence. This file knows sentences; it knows no relation and no tokens.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from reader import names
from reader.clauses import Clauses
from reader.forms import ASKED_BY_UNIT, IN_OTHER_FORMS, UNITS
from reader.lexicon import FUNCTION_WORDS
from reader.names import Split
from reader.wrapping import WRAPPERS, wrap

_PLAIN = re.compile(r"[A-Z][A-Za-z ,'\-]{24,150}\.")
_ENDS = re.compile(r"(?<=\.)\s+(?=[A-Z])")
_SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"})
_LARGEST = 400_000  # bytes of a source file; larger ones are generated

_AUXILIARIES = ("did", "does", "is", "was", "can", "do", "are", "has", "will")
_ASKING = ("what", "what", "what", "which", "how", "who", "where", "when", "why")


def sentences(folders: Sequence[Path]) -> list[str]:
    """Plain sentences of the docstrings under `folders`, each once, in the order of their files."""
    found: dict[str, None] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if not _SKIPPED.isdisjoint(path.relative_to(folder).parts):
                continue
            for text in _docstrings(path):
                for paragraph in re.split(r"\n\s*\n", text):
                    for sentence in _ENDS.split(" ".join(paragraph.split())):
                        plain = _PLAIN.fullmatch(sentence) and "--" not in sentence
                        if plain and 5 <= sentence.count(" ") <= 24:
                            found[sentence] = None
    return list(found)


def _docstrings(path: Path) -> Iterator[str]:
    if path.stat().st_size > _LARGEST:
        return
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # templates and test data that are no Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


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
        parted = self.words[place - 1].endswith(_PARTING)
        return self.kinds[place] == self.kinds[place - 1] and not parted


_PARTING = (",", "|", "–", ";", ":")  # what stands between two values
_TOLD = 0.5  # share of passages that a grammar tells
_LINES = 0.2  # share of the others that are lines of a register
_SERIES = 0.25  # share of passages that are followed by others of the same make
_SPOKEN = 0.07  # share of sentences that somebody says
_DONE = 0.35  # share of sentences without a subject that are given a person who does what they say
_FOREIGN = 0.3  # share of questions with words that their passage does not have
_OTHERWISE = 0.2  # share of values in another form than the world writes them in
_AROUND = (("", ""),) * 8 + (("(", ")"), ('"', '"'))  # marks about a value
_MARKS = ',:;|–"() '
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
_WH = {
    "person": ("who", "who", "whom", "which person"),
    "place": ("where", "which place", "what"),
    "day": ("when", "on which day", "what date"),
    "hour": ("when", "at what time", "at which hour"),
    "number": ("how many", "what number", "which number"),
    "name": ("what", "which", "who"),
    "code": ("what", "which", "which code"),
    "word": _ASKING,
}


class Prose:
    """Passages drawn from sentences."""

    def __init__(self, rng: Random, pool: Sequence[str], words: Sequence[str]) -> None:
        """`pool` are sentences, `words` the dictionary that other words are drawn from."""
        self._rng, self._pool, self._dictionary = rng, pool, words
        self._clauses = Clauses(rng, words)

    def passages(self, count: int) -> list[Passage]:
        """So many passages; some are like the one before but for their values and a few words."""
        found: list[Passage] = []
        while len(found) < count:
            found.append(self.passage())
            if not found[-1].asks and self._rng.random() < _SERIES:
                found += [self._alike(found[-1]) for _ in range(self._rng.randint(1, 5))]
        return found[:count]

    def register(self, count: int) -> tuple[str, list[Passage]]:
        """The rows of a table, each `a | b | c`, and the table as text."""
        rng = self._rng
        columns = [rng.choice([*_PUT_IN, "word", "word"]) for _ in range(rng.randint(2, 4))]
        rows = [self._row(columns, " |") for _ in range(count)]
        head = " | ".join(self._words(1)[0].capitalize() for _ in columns)
        rule = " | ".join("---" for _ in columns)
        lines = [f"| {line} |" for line in (head, rule, *(row.text for row in rows))]
        return "\n".join(lines), rows

    def _row(self, columns: Sequence[str], between: str) -> Passage:
        texts: list[str] = []
        kinds: list[str] = []
        for column in columns:
            if texts:
                texts[-1] += between
            pieces = self._value(column)
            texts += pieces
            kinds += [column] * len(pieces)
        return Passage(" ".join(texts), tuple(texts), tuple(kinds))

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
                bare = word.rstrip(_MARKS)
                other = self._words(1)[0] if rng.random() < exchanged else bare
                texts.append(_cased(other, word) + word[len(bare) :])
            elif not kind:
                texts.append(word)
            elif passage.goes_on(place):
                texts[-1] += word[len(word.rstrip(_MARKS)) :]
                continue
            else:
                pieces = self._value(kind)
                pieces[0] = word[: len(word) - len(word.lstrip(_MARKS))] + pieces[0]
                pieces[-1] += word[len(word.rstrip(_MARKS)) :]
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
        told = self._clauses.told()
        words = tuple(told.text.rstrip(".").split(" "))
        bare = (word.strip(_MARKS).lower() for word in words)
        kinds = tuple("" if word in FUNCTION_WORDS or len(word) < 3 else "word" for word in bare)
        return Passage(told.text, words, kinds, told.asks, told.open)

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

    def exchange(
        self, passage: Passage, among: Sequence[Passage] = (), topic: str = ""
    ) -> tuple[str, str] | None:
        """A question and its answer, which is the passage, or "The person who … is …".

        The question asks for one span in some of the other words, at times with the topic's. It shares
        more words with this passage than with any other of `among`; None where no question tried does,
        as for the rows of a table that differ in the span alone.
        """
        others = [spoken(other.text) for other in among if other.text != passage.text]
        own = spoken(passage.text)
        for _ in range(6):
            if passage.asks:
                question, answer = self._rng.choice(passage.asks)
                asked = ""
            else:
                question, asked = self._question(passage, topic)
                answer = ""
            said = spoken(question)
            shared = len(said & own)
            if all(len(said & other) < shared for other in others):
                answer = answer or passage.text
                if question.startswith("Who ") and asked:  # as sheets are answered
                    answer = f"The person who {question[4:-1]} is {asked}."
                return wrap(question, self._rng.choice(WRAPPERS)), answer
        return None

    def headed(self, passage: Passage) -> str:
        """The passage behind a question that it answers, as in an interview or a list of answers."""
        question, _ = (
            self._rng.choice(passage.asks) if passage.asks else self._question(passage, "")
        )
        return self._rng.choice((f"{question}\n", f"Q: {question}\nA: ")) + passage.text

    def left_open(self, passages: Sequence[Passage]) -> Passage:
        """A passage that none of these is, though it is like one of them: what it asks is left open.

        Wherever it is asked about, there are words that no single one of them has together.
        """
        known = [spoken(passage.text) for passage in passages]
        for _ in range(8):
            like = self._rng.choice(passages)
            other = self._told() if like.asks else self._alike(like)
            words = spoken(other.text)
            if all(len(words - each) > len(words) // 3 for each in known):
                return other
        return self.passage()

    def open_question(self, passages: Sequence[Passage]) -> str | None:
        """A question about something like these passages that none of them answers, if one was found.

        No passage has half of its words: questions with a foreign word are answered, too.
        """
        known = [spoken(passage.text) for passage in passages]
        left = [(question, each) for each in passages for question in each.open]
        if left and self._rng.random() < 0.5:  # of something that is there, what nothing says of it
            question, about = self._rng.choice(left)
            said = spoken(question)
            others = (spoken(each.text) for each in passages if each is not about)
            if all(2 * len(said & each) < len(said) for each in others):
                return wrap(question, self._rng.choice(WRAPPERS))
        for place in range(6):
            other = self.left_open(passages) if place < 4 else self.passage()
            exchange = self.exchange(other, passages)
            said = spoken(exchange[0]) if exchange else set()
            if exchange and said and all(2 * len(said & each) < len(said) for each in known):
                return exchange[0]
        return None

    def gap(self, passage: Passage) -> str:
        """The whole passage as a question, with a question word in a span's place."""
        if passage.asks:
            question, _ = self._rng.choice(passage.asks)
            return question
        start, end = self._span(passage)
        kind = passage.kinds[start]
        words = [word.strip(_MARKS) for word in passage.words]
        wh = "what" if kind == "word" else self._rng.choice(self._asked_by(passage, start, end))
        return _asking([*words[:start], wh, *words[end:]])

    def _question(self, passage: Passage, topic: str) -> tuple[str, str]:
        """The question, and the person it asks for where it goes on as a statement does: "Who left?"."""
        rng = self._rng
        start, end = self._span(passage)
        wh = rng.choice(self._asked_by(passage, start, end))
        drop = rng.choice((0.05, 0.2, 0.4, 0.6))
        around = list(zip(passage.words, passage.kinds, strict=True))
        told = self._retold(around[:start], drop)
        tells = self._retold(around[end:], drop)
        if rng.random() < _FOREIGN:
            half = rng.choice((told, tells))
            half.insert(rng.randint(0, len(half)), topic.lower() or self._words(1)[0])
        style = rng.random()
        asked = " ".join(passage.words[start:end]).strip(_MARKS)
        person = asked if passage.kinds[start] == "person" else ""
        if tells and not told:
            return _asking([wh, *tells]), person
        if style < 0.3:
            if tells:
                return _asking([wh, *tells, *told]), person
            asking = [wh, rng.choice(_AUXILIARIES), *told]
        elif style < 0.75:
            asking = [wh, rng.choice(_AUXILIARIES), *told, *tells]
        else:
            asking = [*told, wh, *tells]
        return _asking(asking), ""

    def _asked_by(self, passage: Passage, start: int, end: int) -> tuple[str, ...]:
        """The question words that a span may be asked for by."""
        kind = passage.kinds[start]
        if kind != "amount":
            return _WH[kind]
        said = " ".join(passage.words[start:end]).strip(_MARKS)
        _, _, unit = said.partition(" ")
        while unit and unit not in ASKED_BY_UNIT:  # "two hundred euros"
            _, _, unit = unit.partition(" ")
        return ASKED_BY_UNIT.get(unit, ("how much",))

    def _span(self, passage: Passage) -> tuple[int, int]:
        """Where what is asked for begins and ends: rather something put in than a plain word."""
        rng = self._rng
        named = [i for i, kind in enumerate(passage.kinds) if kind not in {"", "word"}]
        plain = [i for i, kind in enumerate(passage.kinds) if kind == "word"]
        start = rng.choice(named if named and (rng.random() < 0.7 or not plain) else plain)
        if passage.kinds[0] == "person" and rng.random() < 0.5:  # who does what the sentence says
            start = 0
        end = start + 1
        kind = passage.kinds[start]
        if kind == "word":
            while end < len(passage.words) and end - start < 3 and passage.kinds[end] == kind:
                end += 1
            if sum(map(bool, passage.kinds)) == end - start:  # a question needs a word to go by
                end = start + 1
        else:
            while passage.goes_on(start):
                start -= 1
            while end < len(passage.words) and passage.goes_on(end):
                end += 1
        return start, end

    def _retold(self, words: Sequence[tuple[str, str]], drop: float) -> list[str]:
        """The words as a question has them, without some: `drop` of content, a third of the others."""
        kept = [(w, k) for w, k in words if self._rng.random() > (drop if k else 0.33)]
        if not any(k for _, k in kept):
            kept = list(words)
        return [self._asked(word.strip(_MARKS), kind) for word, kind in kept]

    def _asked(self, word: str, kind: str) -> str:
        """The word as a question has it: mostly in lower case, at times in another form."""
        if kind not in {"", "word"}:
            return word
        if not kind or self._rng.random() < 0.8:
            word = word.lower()
        if not kind or self._rng.random() < 0.6:
            return word
        for ending in ("ing", "ied", "ed", "es", "s"):
            if word.endswith(ending) and len(word) > len(ending) + 3:
                return word[: -len(ending)] + ("y" if ending == "ied" else "")
        return word + self._rng.choice(("s", "ed", "ing"))


def _cased(word: str, like: str) -> str:
    return word.capitalize() if like[:1].isupper() and not like.isupper() else word


def spoken(text: str) -> set[str]:
    """The words of a text that are no function words, bare and in lower case."""
    bare = {word.strip(_MARKS + ".?!'-").lower() for word in text.split()}
    return bare - FUNCTION_WORDS - {""}


def _asking(words: Sequence[str]) -> str:
    text = _uncapped(" ".join(words))
    return text[0].upper() + text[1:] + "?"


def _uncapped(text: str) -> str:
    first, space, rest = text.partition(" ")
    return first.lower() + space + rest if first.lower() in FUNCTION_WORDS else text
