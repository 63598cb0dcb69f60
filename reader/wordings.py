"""How a fact is stated, asked for and answered, in plain English.

A wording is a template over a fact's fields: `{S}` subject, `{V}` value, `{N}` noun, `{adv}` adverb,
`{vp}`, `{past}`, `{third}`, `{base}`, `{part}` verb forms. Wordings are split: those listed under
EVAL never occur in training. The answer to a question is one sentence that restates what was asked
before it gives the value, so that the value is found by matching what has just been said. This file
knows templates alone; `world.py` chooses facts.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """The wordings of one kind of fact."""

    statements: tuple[str, ...]
    eval_statements: tuple[str, ...]
    questions: tuple[str, ...]
    eval_questions: tuple[str, ...]
    answer: str


_ATTRIBUTE_STATEMENTS = (
    "The {N} of {S} is {V}.",
    "The {N} of {S} is {V}.",
    "The {N} of {S} is {V}.",
    "{V} is the {N} of {S}.",
    "{S}'s {N} is {V}.",
    "{S}'s {N} is {V}.",
    "{S} has this {N}: {V}.",
    "For {S}, the {N} is {V}.",
    "As for {S}, the {N} is {V}.",
    "The {N} given for {S} is {V}.",
    "Records give this as the {N} of {S}: {V}.",
    "In the case of {S} the {N} is {V}.",
    "{S}: {N} {V}.",
)
_ATTRIBUTE_QUESTIONS = (
    "What is the {N} of {S}?",
    "What is the {N} of {S}?",
    "What's the {N} of {S}?",
    "What {N} does {S} have?",
    "Which {N} does {S} have?",
    "Tell me the {N} of {S}.",
    "Name the {N} of {S}.",
    "What is {S}'s {N}?",
    "For {S}, what is the {N}?",
    "I need the {N} of {S}.",
    "Give {S}'s {N}.",
    "What does the text give as the {N} of {S}?",
)

RELATIONS: dict[str, Relation] = {
    "attribute": Relation(
        _ATTRIBUTE_STATEMENTS,
        ("The {N} for {S} is {V}.", "With {S}, the {N} is {V}."),
        _ATTRIBUTE_QUESTIONS,
        ("What is the {N} for {S}?", "What is given as the {N} of {S}?"),
        "The {N} of {S} is {V}.",
    ),
    "holder": Relation(
        (
            *_ATTRIBUTE_STATEMENTS[:10],
            "{V} serves as {N} of {S}.",
            "The {N} of {S} is called {V}.",
        ),
        ("The {N} for {S} is {V}.", "The {N} of {S} is named {V}."),
        (
            "Who is the {N} of {S}?",
            "Who is the {N} of {S}?",
            "Who is {S}'s {N}?",
            "Who serves as {N} of {S}?",
            "Name the {N} of {S}.",
            "What is the name of the {N} of {S}?",
            "Tell me who the {N} of {S} is.",
            "Which person is the {N} of {S}?",
        ),
        ("Who works as {N} of {S}?", "What is the {N} of {S} called?"),
        "The {N} of {S} is {V}.",
    ),
    "agent": Relation(
        (
            "The person who {adv}{past} {S} is {V}.",
            "{S} was {adv}{part} by {V}.",
            "{S} was {adv}{part} by {V}.",
            "{S} was {adv}{part} by {V}.",
            "{V} {adv}{past} {S}.",
            "{S} had been {adv}{part} by {V}.",
            "{S} got {adv}{part} by {V}.",
        ),
        ("{S} has been {adv}{part} by {V}.", "The one who {adv}{past} {S} is {V}."),
        (
            "Who {past} {S}?",
            "Who {past} {S}?",
            "Who {adv}{past} {S}?",
            "By whom was {S} {part}?",
            "Who was it that {past} {S}?",
            "Tell me who {past} {S}.",
            "Which person {past} {S}?",
            "Who was {S} {part} by?",
            "{S} was {part} by whom?",
        ),
        ("Who is the person that {past} {S}?", "Name the one who {past} {S}."),
        "The person who {past} {S} is {V}.",
    ),
    "habit": Relation(
        (
            "The person who {third} {S} is {V}.",
            "{S} is {part} by {V}.",
            "{S} is {part} by {V}.",
            "{S} is {part} by {V} every week.",
            "{V} {third} {S}.",
            "{S} gets {part} by {V}.",
        ),
        ("{S} is always {part} by {V}.", "The one who {third} {S} is {V}."),
        (
            "Who {third} {S}?",
            "Who {third} {S}?",
            "By whom is {S} {part}?",
            "Who is it that {third} {S}?",
            "Tell me who {third} {S}.",
            "Which person {third} {S}?",
            "Who is {S} {part} by?",
        ),
        ("Who is the person that {third} {S}?", "Name the one who {third} {S}."),
        "The person who {third} {S} is {V}.",
    ),
    "when": Relation(
        (
            "{S} was {adv}{part} on {V}.",
            "{S} was {part} on {V}.",
            "{S} was {part} on {V}.",
            "On {V}, {S} was {part}.",
            "{S} had been {part} on {V}.",
            "{S} got {part} on {V}.",
        ),
        ("{S} has been {part} on {V}.", "{S} was finally {part} on {V}."),
        (
            "When was {S} {part}?",
            "When was {S} {part}?",
            "On which date was {S} {part}?",
            "On what day was {S} {part}?",
            "Tell me when {S} was {part}.",
            "When exactly was {S} {part}?",
        ),
        ("What is the date on which {S} was {part}?", "What date was {S} {part} on?"),
        "{S} was {part} on {V}.",
    ),
    "where": Relation(
        (
            "{S} is {part} {V}.",
            "{S} is {part} {V}.",
            "{S} is always {part} {V}.",
            "You will find {S} {part} {V}.",
            "{S} is now {part} {V}.",
        ),
        ("{S} is usually {part} {V}.", "One finds {S} {part} {V}."),
        (
            "Where is {S} {part}?",
            "Where is {S} {part}?",
            "Where exactly is {S} {part}?",
            "In which place is {S} {part}?",
            "Tell me where {S} is {part}.",
            "Do you know where {S} is {part}?",
        ),
        ("At which place is {S} {part}?", "Say where {S} is {part}."),
        "{S} is {part} {V}.",
    ),
    "schedule": Relation(
        (
            "{S} {third} {V}.",
            "{S} {third} {V}.",
            "{S} usually {third} {V}.",
            "In winter {S} {third} {V}.",
        ),
        ("{S} normally {third} {V}.", "This year {S} {third} {V}."),
        (
            "When does {S} {base}?",
            "When does {S} {base}?",
            "At what time does {S} {base}?",
            "On which day does {S} {base}?",
            "Tell me when {S} {third}.",
            "Do you know when {S} {third}?",
        ),
        ("When exactly does {S} {base}?", "Say when {S} {third}."),
        "{S} {third} {V}.",
    ),
    "object": Relation(
        (
            "{S} {third} {V}.",
            "{S} {third} {V}.",
            "What {S} {third} is {V}.",
            "{S} mostly {third} {V}.",
            "{S} always {third} {V}.",
        ),
        ("{S} often {third} {V}.", "Above all {S} {third} {V}."),
        (
            "What does {S} {base}?",
            "What does {S} {base}?",
            "What is it that {S} {third}?",
            "Tell me what {S} {third}.",
            "Do you know what {S} {third}?",
        ),
        ("What exactly does {S} {base}?", "Say what {S} {third}."),
        "{S} {third} {V}.",
    ),
    "count": Relation(
        (
            "{S} has {V} {N}.",
            "{S} has {V} {N}.",
            "There are {V} {N} in {S}.",
            "In all, {S} has {V} {N}.",
            "The number of {N} of {S} is {V}.",
        ),
        ("{S} comes with {V} {N}.", "Altogether {S} has {V} {N}."),
        (
            "How many {N} does {S} have?",
            "How many {N} does {S} have?",
            "What is the number of {N} of {S}?",
            "How many {N} are there in {S}?",
            "How many {N} belong to {S}?",
            "Tell me how many {N} {S} has.",
        ),
        ("How many {N} has {S}?", "Say how many {N} {S} has."),
        "{S} has {V} {N}.",
    ),
    "measure": Relation(
        (
            "{S} {third} {V}.",
            "{S} {third} {V}.",
            "At present {S} {third} {V}.",
            "{S} {third} about {V}.",
            "{S} {third} {V} in all.",
        ),
        ("{S} {third} exactly {V}.", "As a rule {S} {third} {V}."),
        (
            "How much does {S} {base}?",
            "How much does {S} {base}?",
            "What does {S} {base}?",
            "Tell me how much {S} {third}.",
            "Do you know how much {S} {third}?",
        ),
        ("How much exactly does {S} {base}?", "Say how much {S} {third}."),
        "{S} {third} {V}.",
    ),
}

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
)
_LOWERED = {"The", "It", "What", "You", "There", "On", "In", "At", "Every", "For", "As", "Records"}

NOT_STATED = "That is not stated."


def fill(template: str, fields: dict[str, str]) -> str:
    """The template with its fields, starting with a capital letter."""
    text = template.format_map(fields)
    return text[0].upper() + text[1:]


def opened(sentence: str, opener: str) -> str:
    """The sentence behind an opener; a name keeps its capital."""
    first = sentence.split(" ", 1)[0]
    if first in _LOWERED:
        sentence = sentence[0].lower() + sentence[1:]
    comma = "" if opener.endswith("that") else ","
    return f"{opener}{comma} {sentence}"


def wrap(question: str, wrapper: str) -> str:
    """A question inside one of the wrappers."""
    lowered = question if question.split()[0][1:2].isupper() else question[0].lower() + question[1:]
    return wrapper.format(q=question, l=lowered)
