"""Small damage to the words around a fact, so that reading does not hang on any one wording.

Words that carry no field may be dropped, exchanged or joined by others, at random. Whoever reads
damaged sentences learns to find a fact by its own words (subject, noun, verb) and to read over
the rest; a wording that training never used then costs little. Held-out wordings are never
produced. This file knows templates, no facts.
"""

from functools import cache
from random import Random

from reader.wordings import RELATIONS

# What may be put in; many of these occur in templates, too.
FILLERS = (
    "a about above according actually after again all almost already also always among an and "
    "any around as ask at because before below beside besides best both briefly but called can "
    "certainly could day days did do does done down each either else entry even ever every "
    "exactly fact far few file final finally first following for from further generally get "
    "give given go goes good great had has have he here hereby however if in indeed inside "
    "instead into is it its just kindly known last lately later least less like list listed "
    "look mainly may maybe mean might more most mostly must my name named near next normally "
    "note now of often once one only or other otherwise our over own page part people perhaps "
    "place plain please point present quite rather read really record recorded regard rule said "
    "same say says see seems several shall she should shown simply since so some soon sort "
    "state stated still such surely take tell text than that the then there these they thing "
    "this those thought through time to today together told too true truly under until up upon "
    "us use used usually very was way we well were while whole will wish with within without "
    "word words work works would year years yes yet you your "
).split()
# What decides which fact is asked for or stated stays where it is.
KEPT = frozenset(
    "who whom whose what when where which how much many by on not no number date".split()
)


@cache
def _held_out() -> frozenset[str]:
    """Every held-out wording, as its words without adverb field, case and punctuation."""
    return frozenset(
        _bare(template)
        for relation in RELATIONS.values()
        for template in (*relation.eval_statements, *relation.eval_questions)
    )


def _bare(template: str) -> str:
    words = template.replace("{adv}", "").lower().split()
    return f" {' '.join(word.strip(',.:;?!()') for word in words)} "


def held_out(template: str) -> bool:
    """Whether a held-out wording stands in the template."""
    bare = _bare(template)
    return any(wording in bare for wording in _held_out())


def distorted(template: str, rng: Random) -> str:
    """The template with one to three words without weight dropped, exchanged or added.

    Fields, interrogatives and `KEPT` words stay, in their order, and so do the neighbours of `{V}`: they
    say where a value begins and ends.
    The same template comes back where the damage would spell out a held-out wording.
    """
    words = template.split()
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        place = rng.randrange(len(words))
        word = words[place]
        if any("{V}" in near for near in words[max(0, place - 1) : place + 2]):
            continue
        if rng.random() < 0.5:
            if not place and "{" not in word and word != "I":
                words[0] = word.lower()
            words.insert(place, rng.choice(FILLERS))
        elif "{" not in word and word.lower().split("'")[0].strip(",.:;?!") not in KEPT:
            tail = word[-1] if word[-1] in ".?:," else ""
            if rng.random() < 0.6:
                words[place] = rng.choice(FILLERS) + tail
            elif not tail and len(words) > 3:
                del words[place]
    damaged = " ".join(words)
    return template if held_out(damaged) else damaged
