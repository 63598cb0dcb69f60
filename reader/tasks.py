"""Chat examples that teach the reader its trade: answer, ask, list, restate, quiz, admit ignorance.

An example is a list of segments; a segment is text or a special token, and says whether its tokens
are learned. This file knows the world and the chat format, but no tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from reader.facts import Fact, label
from reader.layouts import LABELLED
from reader.names import Split
from reader.passages import Passage
from reader.predicates import KINDS, UNLISTED
from reader.prose import Prose
from reader.tokenizer import BOS, END
from reader.wider import WIDER, Asker
from reader.wordings import NOT_STATED
from reader.world import Group, Sheet
from training.seeds import SEEDS, SeedKind

# Asking is most of a study, and a question that names what the text does not is a lesson lost.
_SKILLS: tuple[SeedKind, ...] = (
    *("question",) * 4,
    *("use_case",) * 2,
    *("structuring", "summarization", "creative", "unanswered"),
)
# What is confused most often: one name with another, a number with its neighbour.
_HARD = ("holder", "holder", "holder", "count", "count", "object")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of an example; `special` text is one special token.

    Where `only` is given, no more than its tokens (the last time it occurs) are learned. `open_` is a text
    that could as well have begun otherwise, such as a question of the reader's own.
    """

    text: str
    learned: bool = False
    special: bool = False
    only: str = ""
    open_: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one stage of the curriculum draws: sheets, facts a sheet, turns, share of other skills."""

    sheets: tuple[int, int]
    facts: tuple[int, int]
    turns: int
    skills: float = 0.0  # share of turns that ask, list, restate a subject or make a quiz card
    unstated: float = 0.0  # share of questions that the sheets do not answer
    plain: float = 0.0  # share of examples whose sheets and questions use the plainest wordings
    values_only: bool = False  # learn nothing of an answer but its value
    wider: float = 0.0  # share of turns that need more than one fact, or read one backwards
    repeats: float = 0.0  # share of facts that say of one subject what was said of another
    unlisted: float = 0.0  # share of examples with many attributes that no list of the world has
    labelled: float = 0.0  # share of examples whose sheets are records and tables
    alike: float = 0.0  # share of examples whose sheets state facts of one kind alone
    recurring: float = 0.15  # share of persons that stand in other facts already
    prose: float = 0.0  # share of examples whose documents are passages, asked about and quoted

    def of_one_size(self, rng: Random) -> "Recipe":
        """The same recipe with one number of sheets and of facts, so that a batch pads little.

        Small numbers of sheets are likelier: they teach more for each token.
        """
        low, high = self.sheets
        sheets, facts = low + int((high - low + 1) * rng.random() ** 2), rng.randint(*self.facts)
        return replace(self, sheets=(sheets, sheets), facts=(facts, facts))


def example(
    rng: Random, recipe: Recipe, words: Sequence[str], split: Split, pool: Sequence[str] = ()
) -> list[Segment]:
    """One training example of the chat format; `pool` are the sentences that prose is drawn from."""
    if pool and rng.random() < recipe.prose:
        return _quoting(rng, recipe, words, pool)
    plain = rng.random() < recipe.plain
    group = Group(rng, split, words, plain=plain)
    group.repeats, group.recurring = recipe.repeats, recipe.recurring
    if rng.random() < recipe.alike:
        group.kinds, group.repeats = (rng.choice((*KINDS, *_HARD)),), 0.6
    elif rng.random() < recipe.unlisted:
        group.kinds = (*KINDS, *(UNLISTED,) * len(KINDS))
    labelled = rng.random() < recipe.labelled
    sheets = [
        group.sheet(rng.randint(*recipe.facts), rng.choice(LABELLED) if labelled else None)
        for _ in range(rng.randint(*recipe.sheets))
    ]
    facts = [fact for sheet in sheets for fact in sheet.facts]
    segments = [Segment(BOS, special=True), *_turn("system", render(rng, sheets))]
    asked = rng.sample(facts, min(recipe.turns, len(facts)))
    asker = Asker(rng, split, [sheet.facts for sheet in sheets])
    for fact in asked:
        wider = asker.draw(rng.choice(WIDER)) if rng.random() < recipe.wider else None
        if wider is not None:
            segments += _exchange(wider.text, wider.answer)
        elif rng.random() < recipe.skills:
            segments += _skill(rng, sheets, group, split)
        elif rng.random() < recipe.unstated:
            stranger = unstated(rng, facts, group)
            segments += _exchange(stranger.asked(rng, split).question, NOT_STATED)
        else:
            question, answer = (fact.question, fact.answer) if plain else fact.asked(rng, split)
            only = fact.value if recipe.values_only else ""
            segments += _exchange(question, answer, only=only)
    return segments


def _quoting(
    rng: Random, recipe: Recipe, words: Sequence[str], pool: Sequence[str]
) -> list[Segment]:
    """Documents of passages; at times one of them is a sheet of the world, asked about as well."""
    prose = Prose(rng, pool, words)
    texts: list[str] = []
    passages: list[Passage] = []
    topics: list[str] = []  # of each passage: what the questions about it may be headed by
    for _ in range(rng.randint(*recipe.sheets)):
        size = max(1, rng.randint(*recipe.facts) // 2)
        document = prose.passages(size)
        title = prose.title()
        texts.append(_set(rng, title, document, prose))
        if rng.random() < 0.35:
            table, rows = prose.register(rng.randint(1, 6))
            texts[-1] += f"\n\n{table}"
            document += rows
        passages += document
        topics += [rng.choice((title, ""))] * len(document)
    group = Group(rng, "train", words)
    sheet = group.sheet(rng.randint(*recipe.facts)) if rng.random() < 0.25 else None
    if sheet is not None:
        texts.append(sheet.text)
        rng.shuffle(texts)
    segments = [Segment(BOS, special=True), *_turn("system", "\n\n".join(texts))]
    asked = rng.sample(list(zip(passages, topics, strict=True)), min(recipe.turns, len(passages)))
    for passage, topic in asked:
        if sheet is not None and rng.random() < 0.25:
            segments += _exchange(*rng.choice(sheet.facts).asked(rng, "train"))
        elif rng.random() < recipe.skills:
            kind: SeedKind = rng.choice(("question", "question", "use_case", "unanswered"))
            about = prose.left_open(passages) if kind == "unanswered" else passage
            segments += _exchange(SEEDS[kind], prose.gap(about), open_=True)
        elif rng.random() < recipe.unstated / 2:
            open_ = prose.open_question(passages)
            segments += _exchange(open_, NOT_STATED) if open_ else []
        else:
            exchange = prose.exchange(passage, passages, topic)
            segments += _exchange(*exchange) if exchange else []
    if len(segments) == 4:  # its passages could not be told apart
        return _quoting(rng, recipe, words, pool)
    return segments


def _set(rng: Random, title: str, passages: Sequence[Passage], prose: Prose) -> str:
    """Passages as a document: paragraphs, a list, numbered or dated lines, questions with their answers."""
    styles = ("paragraphs", "paragraphs", "paragraphs", "bullets", "numbers", "times", "lines")
    style = rng.choice((*styles, "headed"))
    if style == "headed":
        blocks = [prose.headed(p) if rng.random() < 0.6 else p.text for p in passages]
        return "\n\n".join([f"# {title}", *blocks])
    texts = [passage.text for passage in passages]
    if style == "paragraphs":
        size = rng.randint(2, 5)
        blocks = [" ".join(texts[i : i + size]) for i in range(0, len(texts), size)]
        return "\n\n".join([f"# {title}", *blocks])
    marks: dict[str, Callable[[int], str]] = {
        "bullets": lambda _: "- ",
        "numbers": lambda number: f"{number}. ",
        "times": lambda number: f"{(6 + number // 3) % 24:02d}:{rng.randrange(60):02d} ",
        "lines": lambda _: "",
    }
    lines = [marks[style](number) + text for number, text in enumerate(texts, 1)]
    return "\n".join([f"# {title}", *lines])


def render(rng: Random, sheets: Sequence[Sheet]) -> str:
    """Documents as they stand in the system message; a short one may look like a window of one."""
    text = "\n\n".join(sheet.text for sheet in sheets)
    if sum(len(sheet.facts) for sheet in sheets) <= 8 and rng.random() < 0.5:
        return text.replace("\n\n", "\n")
    return text


def unstated(rng: Random, facts: Sequence[Fact], group: Group) -> Fact:
    """A fact that none of the sheets states: a known subject with another question, or a stranger.

    A quarter are near misses: what the sheets say of one subject is asked of another. What they say of
    it in another relation's words ("The price of the gate", "How much does the gate cost?") is stated.
    """
    known = {(fact.key, fact.subject.lower()) for fact in facts}
    known |= {(fact.key, fact.mention.lower()) for fact in facts}
    others = Group(rng, group.split, group.words).sheet(4).facts
    stranger = rng.choice(others)
    if rng.random() < 0.5:
        host = rng.choice(facts)
        if rng.random() < 0.5:
            stranger = rng.choice(facts)
        stranger = Fact(
            stranger.relation, host.subject, host.mention, stranger.value, stranger.fields
        )
    subject = stranger.subject.lower()
    said = [fact for fact in facts if subject in (fact.subject.lower(), fact.mention.lower())]
    if (stranger.key, subject) in known or any(stranger.means(fact) for fact in said):
        return unstated(rng, facts, group)
    return stranger


def _turn(
    role: str, text: str, *, learned: bool = False, only: str = "", open_: bool = False
) -> list[Segment]:
    return [
        Segment(f"<|{role}|>", special=True),
        Segment(text, learned=learned, only=only, open_=open_),
        Segment(END, learned=learned and not only, special=True),
    ]


def _exchange(question: str, answer: str, *, only: str = "", open_: bool = False) -> list[Segment]:
    answered = _turn("assistant", answer, learned=True, only=only, open_=open_)
    return _turn("user", question) + answered


def _skill(rng: Random, sheets: Sequence[Sheet], group: Group, split: Split) -> list[Segment]:
    """One turn of self-study: asking (the five kinds, and what is left open), or serving a request."""
    facts = [fact for sheet in sheets for fact in sheet.facts]
    fact = rng.choice(facts)
    kind = rng.choice(_SKILLS)
    if kind == "unanswered":
        stranger = unstated(rng, facts, group)
        asked = stranger.asked(rng, split, wrapped=False).question
        return _exchange(SEEDS[kind], asked, open_=True)
    if kind in {"question", "use_case"}:
        asked = fact.asked(rng, split, wrapped=False).question
        return _exchange(SEEDS[kind], asked, open_=True)
    requests = {
        "structuring": f"List facts about {fact.subject}.",
        "summarization": f"Restate what the text says about {fact.subject}.",
        "creative": f"Write a quiz card about {fact.subject}.",
    }
    if rng.random() < 0.4:
        return _exchange(SEEDS[kind], requests[kind], open_=True)
    related = [other for other in facts if other.subject == fact.subject][:3]
    if kind == "structuring":
        served = "\n".join(f"{label(other)}: {other.value}" for other in related)
    elif kind == "summarization":
        served = " ".join(other.answer for other in related)
    else:
        served = f"Question: {related[0].question}\nAnswer: {related[0].answer}"
    return _exchange(requests[kind], served)
