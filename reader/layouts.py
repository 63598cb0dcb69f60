"""How a document looks: prose, lists, records, tables, letters, logs and the like.

A layout turns sections of facts into Markdown text. Every fact stays readable from the text alone:
whatever leaves out a subject stands under its heading or beside it. `HELD_OUT` is never drawn in
training. This file knows facts; it draws no values and knows no tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from reader.facts import Fact, label
from reader.names import Split

Sections = Sequence[Sequence[Fact]]


@dataclass(frozen=True, slots=True)
class Page:
    """What a layout is given: title, sections (one subject each), and a voice."""

    title: str
    sections: Sections
    rng: Random
    split: Split | None  # None: the plainest wordings

    def say(self, fact: Fact) -> str:
        """One sentence that states the fact with its subject."""
        return fact.stated(self.rng, self.split)

    def tell(self, section: Sequence[Fact]) -> list[str]:
        """Sentences about one subject: some go on with a pronoun, some join two facts."""
        sentences: list[str] = []
        rest = list(section)
        while rest:
            fact = rest.pop(0)
            if sentences and self.split and self.rng.random() < 0.5:
                sentences.append(fact.continued(self.rng, self.split))
            elif rest and self.split and self.rng.random() < 0.25:
                sentences.append(fact.joined(rest.pop(0), self.rng, self.split))
            else:
                sentences.append(self.say(fact))
        return sentences


Layout = Callable[[Page], list[str]]
"""Returns the blocks that stand under the title."""


def heading(section: Sequence[Fact]) -> str:
    """The subject in full, as a heading."""
    return capital(section[0].subject)


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


def report(page: Page) -> list[str]:
    """Paragraphs of plain sentences."""
    return _paragraphs([page.say(fact) for section in page.sections for fact in section])


def profile(page: Page) -> list[str]:
    """Paragraphs in which a sentence goes on with a pronoun or carries two facts."""
    return [" ".join(page.tell(section)) for section in page.sections]


def notes(page: Page) -> list[str]:
    """Bullet lists of sentences."""
    return ["\n".join(f"- {page.say(fact)}" for fact in section) for section in page.sections]


def record(page: Page) -> list[str]:
    """`Label: value` lines under a heading for each subject."""
    return [
        "\n".join([f"## {heading(section)}", *(f"{label(f)}: {f.value}" for f in section)])
        for section in page.sections
    ]


def dossier(page: Page) -> list[str]:
    """Records and prose by turns."""
    blocks = []
    for section in page.sections:
        one = Page(page.title, [section], page.rng, page.split)
        blocks += (record if page.rng.random() < 0.5 else profile)(one)
    return blocks


def contract(page: Page) -> list[str]:
    """Numbered clauses."""
    facts = [fact for section in page.sections for fact in section]
    sign = page.rng.choice(("{}.", "§ {}", "({})"))
    return ["\n".join(f"{sign.format(i)} {page.say(f)}" for i, f in enumerate(facts, 1))]


def log(page: Page) -> list[str]:
    """Lines that begin with a time of day."""
    minute = page.rng.randint(300, 500)
    lines = []
    for section in page.sections:
        for fact in section:
            lines.append(f"{minute // 60:02d}:{minute % 60:02d} {page.say(fact)}")
            minute = min(minute + page.rng.randint(3, 35), 1_439)
    return ["\n".join(lines)]


def letter(page: Page) -> list[str]:
    """A greeting, paragraphs and a farewell."""
    rng = page.rng
    hello = rng.choice(("Dear all,", "Dear friends,", "Hello everybody,", "Dear Sir or Madam,"))
    bye = rng.choice(("Yours sincerely", "Best wishes", "See you soon", "Kind regards"))
    start = rng.choice(("Here is the news.", "You asked me to write.", "I hope that you are well."))
    return [hello, start, *profile(page), bye]


def minutes(page: Page) -> list[str]:
    """Numbered items with a heading each, sentences below."""
    return [
        f"{number}. {heading(section)}\n{' '.join(page.tell(section))}"
        for number, section in enumerate(page.sections, 1)
    ]


def table(page: Page) -> list[str]:
    """A Markdown table for facts that several subjects share, or one of three columns."""
    labels = list(dict.fromkeys(label(f) for section in page.sections for f in section))
    cells = {(f.subject, label(f)): f.value for section in page.sections for f in section}
    subjects = list(dict.fromkeys(section[0].subject for section in page.sections))
    if len(cells) * 2 >= len(labels) * len(subjects):
        rows = [["Name", *labels]]
        rows += [[capital(s), *(cells.get((s, n), "–") for n in labels)] for s in subjects]
    else:
        rows = [["Name", "Entry", "Value"]]
        rows += [[capital(s), n, value] for (s, n), value in cells.items()]
    drawn = ["| " + " | ".join(row) + " |" for row in rows]
    drawn.insert(1, "|" + " --- |" * len(rows[0]))
    return ["\n".join(drawn)]


def comma_separated(page: Page) -> list[str]:
    """Lines of subject, label, value."""
    sign = page.rng.choice((",", ";", "\t", " / "))
    lines = [sign.join(("name", "entry", "value"))]
    lines += [sign.join((f.subject, label(f).lower(), f.value)) for s in page.sections for f in s]
    return ["\n".join(lines)]


def questions(page: Page) -> list[str]:
    """Questions with their answers."""
    blocks = []
    for section in page.sections:
        for fact in section:
            asked = fact.asked(page.rng, page.split or "train", wrapped=False)
            blocks.append(f"Q: {asked.question}\nA: {capital(fact.value)}.")
    return blocks


def inventory(page: Page) -> list[str]:
    """One line for each subject, its facts behind it."""
    sign = page.rng.choice((" – ", ": ", ", "))
    return [
        "\n".join(
            f"{heading(s)}{sign}" + "; ".join(f"{label(f).lower()} {f.value}" for f in s)
            for s in page.sections
        )
    ]


def dotted(page: Page) -> list[str]:
    """Labels and values with dots between, under the subject."""
    return [
        "\n".join([heading(s).upper(), *(f"{label(f).lower()}..... {f.value}" for f in s)])
        for s in page.sections
    ]


def manual(page: Page) -> list[str]:
    """A heading for each subject and numbered sentences below."""
    return [
        "\n".join([f"## {heading(s)}", *(f"{i}. {text}" for i, text in enumerate(page.tell(s), 1))])
        for s in page.sections
    ]


def itinerary(page: Page) -> list[str]:
    """Days with sentences."""
    unit = page.rng.choice(("Day", "Stop", "Part", "Week"))
    return [
        f"{unit} {number}: {' '.join(page.say(f) for f in section)}"
        for number, section in enumerate(page.sections, 1)
    ]


def catalogue(page: Page) -> list[str]:
    """Numbered entries: the subject, then labels and values in one run. Held out."""
    return [
        f"No. {number}  {heading(s)}. " + " ".join(f"{label(f)}: {f.value}." for f in s)
        for number, s in enumerate(page.sections, 1)
    ]


LAYOUTS: dict[str, Layout] = {
    layout.__name__: layout
    for layout in (
        *(report, profile, notes, record, dossier, contract, log, letter, minutes, table),
        *(comma_separated, questions, inventory, dotted, manual, itinerary),
    )
}
HELD_OUT: dict[str, Layout] = {"catalogue": catalogue}
LABELLED = ("record", "dossier", "table")
"""Those whose labels begin with a capital: a question says the word otherwise than the document does."""


def _paragraphs(sentences: list[str], size: int = 5) -> list[str]:
    return [" ".join(sentences[i : i + size]) for i in range(0, len(sentences), size)]
