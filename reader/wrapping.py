"""What stands around sentences and questions without changing them: openers, courtesies.

Those under EVAL never occur in training. This file knows no fact.
"""

from random import Random

from reader import lexicon as lx
from reader.distortion import FILLERS

# What people put around a question; `{q}` keeps its capital, `{l}` starts in lower case.
WRAPPERS = (
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "Please answer: {q}",
    "Quick question: {q}",
    "According to the text, {l}",
    "{q} Please.",
    "I am writing a report. {q}",
    "One thing I need to know: {l}",
    "{q} Answer in one sentence.",
    "Could you help me? {q}",
    "My question: {q}",
    "I have a question. {q}",
    "{q} I could not find it.",
    "{q} Tell me, please.",
    "Good morning. {q}",
    "We were asked this: {l}",
    "Hello everybody! {q}",
    "Thank you in advance. {q}",
)
EVAL_WRAPPERS = ("{q}", "{q}", "{q}", "Hello! {q}", "{q} Thank you.")

# What may open a sentence in training, so that words without weight are read over.
OPENERS = (
    "Of course",
    "Nowadays",
    "Since last year",
    "At the moment",
    "As before",
    "By tradition",
    "Note that",
    "According to the list",
    "For the record",
    "It is known that",
    "Most people know that",
    "In summer",
    "Until further notice",
    "Please remember that",
    "Besides",
    "Also",
    "By the way",
    "In our case",
    "As you know",
    "To begin with",
    "For example",
    "On paper",
    "We heard that",
    "Everybody here says that",
    "In fact",
    "After all",
    "This month",
    "This morning",
    "This summer",
    "Above everything",
    "Taken altogether",
    "By an old rule",
    "Quite normally",
    "Very often",
    "Finally",
)
# What may close a sentence in training.
TRAILERS = (
    "as far as we know",
    "to this day",
    "as everybody says",
    "or so we are told",
    "it seems",
    "and has been for years",
    "as of now",
    "by all accounts",
    "if the papers are right",
    "which pleases us",
)
# Words that lose their capital inside a sentence; whatever else opens one may be a name.
_LOWERED = frozenset(
    "The It What What's You There On In At Every For As Records Who Whom Whose When Where Which How By "
    "Tell Name State Say Find Look Give Do Is Ask We From Among About Regarding Above Altogether".split()
)


def opened(sentence: str, rng: Random) -> str:
    """The sentence behind an opener; a name keeps its capital.

    Some openers are words that nobody would use so: a capital letter does not make a name.
    """
    opener = rng.choice(OPENERS)
    draw = rng.random()
    if draw < 0.3:
        opener = rng.choice((*lx.ADVERBS, *lx.MATERIALS, *lx.ADJECTIVES, *lx.PARTS)).capitalize()
    elif draw < 0.65:
        opener = rng.choice(FILLERS).capitalize()
    comma = "" if opener.endswith("that") or rng.random() < 0.3 else ","
    return f"{opener}{comma} {_inside(sentence)}"


def closed(sentence: str, trailer: str) -> str:
    """The sentence with something behind it."""
    return f"{sentence[:-1]}, {trailer}." if sentence[-2:] not in (").", "?.") else sentence


def wrap(question: str, wrapper: str) -> str:
    """A question inside one of the wrappers."""
    return wrapper.format(q=question, l=_inside(question))


def _inside(sentence: str) -> str:
    first = sentence.split(" ", 1)[0]
    return sentence[0].lower() + sentence[1:] if first in _LOWERED else sentence
