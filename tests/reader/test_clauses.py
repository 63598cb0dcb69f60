"""Clauses and sayings: what is asked is said, what is left open is not, nothing is of evaluation."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reader import lexicon as lx
from reader.clauses import Clauses
from reader.names import split_of
from reader.parts import SAME_AS, VERBS, Parts
from reader.sayings import Sayings, Told
from reader.wordings import RELATIONS

WORDS = [f"word{number}" for number in range(400)]


def told(seed: int) -> Told:
    return Clauses(Random(seed), WORDS).told()


def words_of(text: str) -> list[str]:
    return [word.removesuffix("'s") for word in re.findall(r"[\w']+", text.lower())]


@given(st.integers(0, 100_000))
def test_every_question_is_a_question_about_the_text(seed: int) -> None:
    found = told(seed)
    assert found.text[0].isupper() or found.text[0].isdigit()
    assert found.asks
    said = set(words_of(found.text))
    for question in (*(question for question, _ in found.asks), *found.open):
        assert question.endswith("?")
        assert question[0].isupper()
        assert "{" not in question
        # It names what the text names, whatever form its verb has.
        nouns = {word for word in words_of(question) if word.startswith("word")}
        assert nouns <= said | {f"{word}s" for word in said}


@given(st.integers(0, 100_000))
def test_an_answer_names_who_the_text_names(seed: int) -> None:
    found = told(seed)
    for question, answer in found.asks:
        if answer:
            name = answer.removesuffix(".").rpartition(" is ")[2]
            assert name in found.text
            assert name not in question


@given(st.integers(0, 100_000))
def test_what_is_left_open_is_not_asked_as_well(seed: int) -> None:
    found = told(seed)
    assert not {question for question, _ in found.asks} & set(found.open)


def test_who_is_asked_for_stands_anywhere_in_the_sentence() -> None:
    places = []
    for seed in range(600):
        found = told(seed)
        for question, answer in found.asks:
            if answer.startswith("The person who ") and question.startswith("Who "):
                name = answer.removesuffix(".").rpartition(" is ")[2]
                places.append(found.text.index(name) / len(found.text))
                break
    assert sum(place == 0 for place in places) > 30
    assert sum(place > 0.25 for place in places) > 60


def test_all_that_is_drawn_is_of_training() -> None:
    for seed in range(2_000):
        found = told(seed)
        nouns = [word for word in words_of(found.text) if re.fullmatch(r"word\d+", word)]
        assert {split_of(noun) for noun in nouns} <= {"train"}
        for amount in re.findall(
            r"\b\w+ (?:euros|dollars|crowns|pounds|kg|km|minutes)\b", found.text
        ):
            assert split_of(amount) == "train"


@pytest.mark.parametrize("phrase", ["when", "where"])
def test_phrases_are_of_training(phrase: str) -> None:
    drawn = {getattr(Parts(Random(seed), WORDS), phrase)() for seed in range(300)}
    assert len(drawn) > 150
    assert {split_of(text) for text in drawn} == {"train"}


def test_on_which_day_asks_for_days_alone() -> None:
    asked = 0
    for seed in range(4_000):
        found = told(seed)
        if any(question.startswith("On which day ") for question, _ in found.asks):
            asked += 1
            assert re.search(r"\b[Oo]n |day\b", found.text), found
    assert asked > 50


def test_no_telling_spells_out_a_held_out_wording() -> None:
    """Held-out wordings, a noun as one word, other fields as any words."""

    def pattern(template: str) -> re.Pattern[str]:
        fields = re.escape(template.replace("{adv}", "")).replace(r"\{N\}", r"\w+")
        return re.compile(re.sub(r"\\\{\w+\\\}", ".+", fields))

    statements = [pattern(t) for r in RELATIONS.values() for t in r.eval_statements]
    questions = [pattern(t) for r in RELATIONS.values() for t in r.eval_questions]
    for seed in range(3_000):
        found = told(seed)
        assert not [p for p in statements if p.fullmatch(found.text)]
        asked = [question for question, _ in found.asks] + list(found.open)
        assert not [(p, q) for p in questions for q in asked if p.fullmatch(q)]


def test_verbs_bend_and_have_other_words_for_the_same() -> None:
    assert all(form == form.strip() and form for verb in VERBS for form in verb)
    bases = {verb.base for verb in VERBS}
    assert len(bases) > 150
    assert set(SAME_AS) <= bases
    assert all(verb.base != base for base, verb in SAME_AS.items())


def test_every_saying_fills_its_fields() -> None:
    texts = set()
    for seed in range(1_500):
        rng = Random(seed)
        found = Sayings(rng, Parts(rng, WORDS)).told()
        assert "{" not in found.text + "".join(q + a for q, a in found.asks) + "".join(found.open)
        texts.add(re.sub(r"word\d+|\d+", "", found.text))
    assert len(texts) > 500


def test_a_noun_is_no_function_word() -> None:
    parts = Parts(Random(3), ["with", "that", "lantern", "meadow"])
    assert not {parts.noun() for _ in range(300)} & lx.FUNCTION_WORDS
