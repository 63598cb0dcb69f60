"""Questions about passages: what is left of one when a span is asked for; answers quote the sentence.

To read what people write, a reader has to find any sentence by some of its words and to repeat it,
whatever stands first in it. What a grammar told brings questions of its own. This file knows passages; it
knows no relation and no tokens.
"""

from collections.abc import Sequence

from reader.forms import ASKED_BY_UNIT
from reader.lexicon import FUNCTION_WORDS
from reader.passages import MARKS, Passage, Passages
from reader.wrapping import WRAPPERS, wrap

_AUXILIARIES = ("did", "does", "is", "was", "can", "do", "are", "has", "will")
_ASKING = ("what", "what", "what", "which", "how", "who", "where", "when", "why")
_FOREIGN = 0.3  # share of questions with words that their passage does not have
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


class Prose(Passages):
    """Passages drawn from sentences, and what can be asked about them."""

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
            question, answer = self._asks(passage, topic)
            said = spoken(question)
            shared = len(said & own)
            if all(len(said & other) < shared for other in others):
                return wrap(question, self._rng.choice(WRAPPERS)), answer or passage.text
        return None

    def headed(self, passage: Passage) -> str:
        """The passage behind a question that it answers, as in an interview or a list of answers."""
        question, _ = self._asks(passage, "")
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
        words = [word.strip(MARKS) for word in passage.words]
        wh = "what" if kind == "word" else self._rng.choice(self._asked_by(passage, start, end))
        return _asking([*words[:start], wh, *words[end:]])

    def _asks(self, passage: Passage, topic: str) -> tuple[str, str]:
        """A question and its answer, empty where the passage is it."""
        if passage.asks:
            return self._rng.choice(passage.asks)
        question, person = self._question(passage, topic)
        named = person and question.startswith("Who ")  # as sheets are answered
        return question, f"The person who {question[4:-1]} is {person}." if named else ""

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
        asked = " ".join(passage.words[start:end]).strip(MARKS)
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
        said = " ".join(passage.words[start:end]).strip(MARKS)
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
        kept: list[tuple[str, str]] = []
        whole = False  # of a day's words, whether they are kept: without its year it is another day
        for place, (word, kind) in enumerate(words):
            if kind != "day" or not place or words[place - 1][1] != kind:
                whole = self._rng.random() > (drop if kind else 0.33)
            if whole:
                kept.append((word, kind))
        if not any(k for _, k in kept):
            kept = list(words)
        return [self._asked(word.strip(MARKS), kind) for word, kind in kept]

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


def spoken(text: str) -> set[str]:
    """The words of a text that are no function words, bare and in lower case."""
    bare = {word.strip(MARKS + ".?!'-").lower() for word in text.split()}
    return bare - FUNCTION_WORDS - {""}


def _asking(words: Sequence[str]) -> str:
    text = _uncapped(" ".join(words))
    return text[0].upper() + text[1:] + "?"


def _uncapped(text: str) -> str:
    first, space, rest = text.partition(" ")
    return first.lower() + space + rest if first.lower() in FUNCTION_WORDS else text
