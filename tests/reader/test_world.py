"""The world repeats itself, states what it asks, and keeps evaluation out of training."""

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reader import lexicon as lx
from reader.curriculum import CURRICULUM
from reader.distortion import KEPT, distorted, held_out
from reader.facts import Fact
from reader.names import Split, split_of
from reader.paths import word_list
from reader.predicates import KINDS, UNLISTED
from reader.tasks import Recipe, example, unstated
from reader.tokenizer import dictionary
from reader.wordings import NOT_STATED, RELATIONS
from reader.world import Group, Sheet
from reader.wrapping import EVAL_WRAPPERS, OPENERS, TRAILERS, WRAPPERS, wrap


@cache
def words() -> tuple[str, ...]:
    return tuple(dictionary(word_list()))


def sheet(seed: int, split: Split, facts: int = 20) -> Sheet:
    return Group(Random(seed), split, words()).sheet(facts)


def test_same_seed_same_sheet() -> None:
    assert sheet(3, "eval") == sheet(3, "eval")
    assert sheet(3, "eval") != sheet(4, "eval")


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["train", "eval"]))
def test_every_fact_is_stated_and_its_answer_gives_the_value(seed: int, split: Split) -> None:
    drawn = sheet(seed, split)
    said = drawn.text.lower()
    for fact in drawn.facts:
        assert fact.value.lower() in said
        assert fact.value.lower() in fact.answer.lower()


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_no_two_facts_of_a_group_answer_the_same_question(seed: int) -> None:
    group = Group(Random(seed), "eval", words())
    facts = [fact for _ in range(4) for fact in group.sheet(12).facts]
    assert len({(fact.key, fact.subject.lower()) for fact in facts}) == len(facts)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(["train", "eval"]))
def test_values_belong_to_their_split(seed: int, split: Split) -> None:
    for fact in sheet(seed, split).facts:
        if fact.relation in {"holder", "agent", "habit"}:
            names = [w for w in fact.value.split() if w not in {"Dr", "Mr", "Mrs", "Captain"}]
            names = [w for w in names if w != "Professor"]
            assert {split_of(name) for name in names} == {split}
        elif fact.relation != "attribute":
            assert split_of(fact.value) == split


def test_no_value_of_evaluation_is_a_value_of_training() -> None:
    values: dict[Split, set[str]] = {"train": set(), "eval": set()}
    titles: dict[Split, set[str]] = {"train": set(), "eval": set()}
    for split in values:
        for seed in range(300):
            drawn = sheet(seed, split)
            titles[split].add(drawn.title)
            values[split] |= {fact.value.lower() for fact in drawn.facts}
    assert not values["train"] & values["eval"]
    assert not titles["train"] & titles["eval"]


def test_wordings_of_evaluation_never_occur_in_training() -> None:
    for relation in RELATIONS.values():
        assert not [t for t in (*relation.statements, *relation.questions) if held_out(t)]
    assert not (set(WRAPPERS) & set(EVAL_WRAPPERS)) - {"{q}"}


def test_wordings_of_evaluation_are_new_combinations_of_words_that_training_knows() -> None:
    """A reader that has met no other English cannot know a word it never saw."""

    def words_of(templates: Iterable[str]) -> set[str]:
        return {
            w for t in templates for w in re.findall(r"[a-z']+", re.sub(r"{\w+}", "", t).lower())
        }

    known = words_of((*WRAPPERS, *OPENERS, *TRAILERS, *lx.ADVERBS))
    for relation in RELATIONS.values():
        known |= words_of((*relation.statements, *relation.questions, relation.answer))
    asked_for = words_of(EVAL_WRAPPERS)
    for relation in RELATIONS.values():
        asked_for |= words_of((*relation.eval_statements, *relation.eval_questions))
    assert asked_for - known == set()


def test_training_examples_hold_no_value_of_evaluation() -> None:
    held_out = {
        fact.value
        for seed in range(200)
        for fact in sheet(seed, "eval").facts
        if fact.relation in {"holder", "agent", "habit", "when"}
    }
    pool = [f"The {first} of a {second} is kept." for first, second in pairwise(words()[:400])]
    recipes = [recipe for stage in CURRICULUM for recipe in stage.recipes]
    for number, recipe in enumerate(recipes * 3):
        drawn = example(Random(number), recipe.of_one_size(Random(number)), words(), "train", pool)
        text = " ".join(segment.text for segment in drawn)
        # "26 March" is not what "26 March 1999" says.
        assert not [
            value
            for value in held_out
            if value in text and re.search(rf"\b{re.escape(value)}\b(?! \d)", text)
        ]


def test_attributes_that_no_list_has_can_be_asked_for_often() -> None:
    listed = {*lx.PLACE_NOUNS, *lx.DATE_NOUNS, *lx.MEASURE_NOUNS, *lx.CODE_NOUNS, *lx.THING_NOUNS}

    def share(kinds: tuple[str, ...]) -> float:
        facts: list[Fact] = []
        for seed in range(20):
            group = Group(Random(seed), "train", words())
            group.kinds = kinds
            facts += group.sheet(20).facts
        nouns = [dict(f.fields)["N"] for f in facts if f.relation == "attribute"]
        return sum(noun.split()[-1] not in listed for noun in nouns) / len(facts)

    assert share((UNLISTED,)) > 0.98  # a word of the dictionary may be listed
    assert share(KINDS) < 0.15 < 0.4 < share((*KINDS, *(UNLISTED,) * len(KINDS)))


def test_unstated_questions_are_not_stated() -> None:
    recipe = Recipe((1, 1), (10, 10), 10, unstated=1.0)
    segments = example(Random(5), recipe, words(), "train")
    learned = [s.text for s in segments if s.learned and not s.special]
    assert learned == [NOT_STATED] * 10


@given(st.integers(0, 100_000))
def test_what_is_asked_as_unstated_is_stated_nowhere(seed: int) -> None:
    rng = Random(seed)
    group = Group(rng, "train", words())
    facts = group.sheet(12).facts
    stranger = unstated(rng, facts, group)
    for fact in facts:
        about = stranger.subject.lower() in (fact.subject.lower(), fact.mention.lower())
        assert not (about and (stranger.key == fact.key or stranger.means(fact)))


def test_relations_that_say_the_same_are_known() -> None:
    def fact(relation: str, **fields: str) -> Fact:
        return Fact(relation, "the gate", "the gate", "V", tuple(fields.items()))

    costs, price = fact("measure", base="cost", third="costs"), fact("attribute", N="price")
    designed = fact("agent", past="designed", third="designs", part="designed")
    assert costs.means(price)
    assert price.means(costs)
    assert designed.means(fact("holder", N="chief designer"))
    assert not costs.means(fact("attribute", N="weight"))
    assert not designed.means(fact("holder", N="captain"))
    assert not designed.means(costs)


@pytest.mark.parametrize("verb", lx.AGENT_VERBS + lx.SCHEDULED + lx.OBJECT_VERBS)
def test_verbs_bend(verb: lx.Verb) -> None:
    assert all(form and form == form.strip() for form in verb)
    assert verb.third.split()[0].endswith("s")


@given(st.integers(0, 100_000))
def test_damage_spares_the_fields_and_never_spells_a_held_out_wording(seed: int) -> None:
    rng = Random(seed)
    relation = rng.choice(list(RELATIONS.values()))
    held_out = {
        " ".join(re.findall(r"[\w{}']+", t.replace("{adv}", "").lower()))
        for r in RELATIONS.values()
        for t in (*r.eval_statements, *r.eval_questions)
    }
    for templates in (relation.statements, relation.questions):
        template = rng.choice(templates)
        damaged = distorted(template, rng)
        assert re.findall(r"{\w+}", damaged) == re.findall(r"{\w+}", template)
        asks = [w for w in re.findall(r"[a-z]+", template.lower()) if w in KEPT]
        assert [w for w in re.findall(r"[a-z]+", damaged.lower()) if w in KEPT] == asks
        plain = " ".join(re.findall(r"[\w{}']+", damaged.replace("{adv}", "").lower()))
        assert plain not in held_out


def test_damage_damages() -> None:
    rng = Random(0)
    assert len({distorted("Who is the {N} of {S}?", rng) for _ in range(100)}) > 60


def test_no_sentence_of_training_spells_out_a_held_out_wording() -> None:
    """Openers, adverbs, courtesies and damage together, filled in: the sentences themselves."""

    def bare(sentence: str) -> str:
        return " ".join(re.findall(r"[\w']+", sentence.lower()))

    rng = Random(14)
    facts = [fact for seed in range(12) for fact in sheet(seed, "train").facts]
    assert {fact.relation for fact in facts} == set(RELATIONS)
    for fact in facts:
        relation = RELATIONS[fact.relation]
        statements = tuple(
            bare(f"{opener} {fact._filled(template, fact.mention)}")
            for template in relation.eval_statements
            for opener in ("", *OPENERS)
        )
        questions = {
            bare(wrap(fact._filled(template, fact.subject), wrapper))
            for template in relation.eval_questions
            for wrapper in WRAPPERS
        }
        for _ in range(60):
            assert not bare(fact.stated(rng, "train")).startswith(statements)
            assert bare(fact.asked(rng, "train").question) not in questions
