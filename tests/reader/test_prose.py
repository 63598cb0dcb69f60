"""Prose: sentences of documentation, questions that leave a span out, answers that quote."""

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reader.forms import IN_OTHER_FORMS
from reader.lexicon import FUNCTION_WORDS
from reader.names import split_of
from reader.prose import Prose, spoken
from reader.sentences import sentences
from reader.tasks import Recipe, example
from reader.wordings import NOT_STATED
from training.seeds import SEEDS

POOL = [
    "The cached value is returned whenever the same argument is passed again.",
    "Every worker closes its connection before the server stops.",
    "Raised when the file, or the folder that holds it, cannot be opened.",
]
WORDS = (
    "lantern orchard velvet harbour saddle meadow copper thimble gallery walnut bridge kettle "
    "parcel window garden marble ribbon anchor basket candle pepper hammer forest island"
).split()


def test_sentences_come_from_docstrings_each_once(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.py").write_text(f'"""{POOL[0]}"""\n')
    (tmp_path / "b.py").write_text(
        f'"""{POOL[1]} Short one.\n\n    {POOL[2]}\n"""\n\n\ndef f():\n    """{POOL[1]}"""\n'
    )
    (tmp_path / "c.py").write_text("this is {{ no }} Python")
    assert sentences([tmp_path]) == POOL[1:]


@given(st.integers(0, 10_000))
def test_questions_ask_for_what_they_leave_out(seed: int) -> None:
    prose = Prose(Random(seed), POOL, WORDS)
    passage = prose.passage()
    assert len(passage.words) == len(passage.kinds)
    question = prose.gap(passage)
    assert question.endswith("?")
    if passage.asks:
        assert question in {asked for asked, _ in passage.asks}
        return
    said = {w.strip(",:;|–? ").lower() for w in question.split()}
    content = [
        w.strip(",:;|– ").lower() for w, k in zip(passage.words, passage.kinds, strict=True) if k
    ]
    missing = [w for w in content if w not in said]
    assert len(missing) < len(content)
    assert missing or len(content) != len(set(content))


def test_a_sentence_without_content_is_passed_over() -> None:
    pool = ["If it is so then you may do it again.", *POOL]
    for seed in range(100):
        prose = Prose(Random(seed), pool, WORDS)
        assert prose.exchange(prose.passage())


def test_put_in_values_stand_in_the_passage() -> None:
    kinds = set()
    for seed in range(200):
        passage = Prose(Random(seed), POOL, WORDS).passage()
        kinds |= set(passage.kinds)
        assert all(
            w.strip(",'-").lower() in FUNCTION_WORDS or len(w.strip(",'-")) < 3
            for w, k in zip(passage.words, passage.kinds, strict=True)
            if not k
        )
    assert {
        "",
        "word",
        "person",
        "place",
        "day",
        "hour",
        "number",
        "amount",
        "name",
        "code",
    } == kinds


def test_answers_quote_a_sentence_of_the_documents_or_restate_it() -> None:
    recipe = Recipe((1, 3), (4, 12), 6, prose=1.0)
    quoted = restated = answered = 0
    for seed in range(60):
        system, *turns = example(Random(seed), recipe, WORDS, "train", POOL)[2:]
        said = [s.text for s in turns if s.learned and not s.special]
        answered += len(said)
        quoted += sum(text in system.text for text in said)
        restated += sum(text.startswith("The person who ") for text in said)
    assert quoted > 0.6 * answered  # the others answer about a sheet of the world
    assert restated < 0.3 * answered


def test_some_questions_are_about_something_else() -> None:
    recipe = Recipe((1, 1), (8, 12), 6, prose=1.0, unstated=1.0)
    drawn = [example(Random(seed), recipe, WORDS, "train", POOL) for seed in range(20)]
    assert sum(NOT_STATED in {s.text for s in segments} for segments in drawn) > 10


@given(st.integers(0, 10_000))
def test_what_is_left_open_is_hardly_said_by_any_passage(seed: int) -> None:
    prose = Prose(Random(seed), POOL, WORDS)
    passages = prose.passages(6)
    question = prose.open_question(passages)
    if question is not None:
        said = spoken(question)
        own = [
            each
            for each in passages
            if any(question.lower().find(q.lower()) >= 0 for q in each.open)
        ]
        assert len(own) < 2
        others = [each for each in passages if each not in own]
        assert all(2 * len(said & spoken(each.text)) < len(said) for each in others)
    left = prose.left_open(passages)
    assert all(left.text != each.text for each in passages)


def test_a_question_shares_most_words_with_its_own_passage() -> None:
    asked = 0
    for seed in range(200):
        prose = Prose(Random(seed), POOL, WORDS)
        passages = prose.passages(6)
        exchange = prose.exchange(passages[0], passages)
        if exchange is None:  # a row that differs from another in what is asked for alone
            continue
        asked += 1
        question, _ = exchange
        said = spoken(question)
        shared = len(said & spoken(passages[0].text))
        others = [p.text for p in passages if p.text != passages[0].text]
        assert all(len(said & spoken(text)) < shared for text in others)
    assert asked > 100


def test_who_did_something_is_named_in_the_passage() -> None:
    restated = told = 0
    for seed in range(1_500):
        prose = Prose(Random(seed), POOL, WORDS)
        passage = prose.passage()
        question, answer = prose.exchange(passage) or ("", "")
        if passage.asks:
            told += 1
            assert answer in {passage.text, "", *(said for _, said in passage.asks)}
        elif answer.startswith("The person who "):
            restated += 1
            doing, _, person = answer[len("The person who ") : -1].rpartition(" is ")
            assert person in passage.text
            assert doing in question
        else:
            assert answer in {passage.text, ""}
    assert restated > 20
    assert told > 400


def test_no_word_of_evaluation_is_put_in_or_left() -> None:
    words = [f"word{number}" for number in range(400)]
    pool = [f"The {words[i]} is a {words[i + 1]} of the {words[i + 2]}." for i in range(390)]
    for seed in range(200):
        for passage in Prose(Random(seed), pool, words).passages(6):
            plain = [w.strip(',:;|–"(). ').lower() for w in passage.text.split()]
            assert {split_of(word) for word in plain if word.startswith("word")} <= {"train"}


@given(st.integers(0, 10_000))
def test_a_register_is_a_table_of_its_rows(seed: int) -> None:
    table, rows = Prose(Random(seed), POOL, WORDS).register(4)
    spaced = re.sub(r"[,;/|\t ]+", " ", table)
    assert 1 <= len(rows) <= 4
    assert all(re.sub(r"[,;/|\t ]+", " ", row.text).strip() in spaced for row in rows)
    assert all(len(row.words) == len(row.kinds) and row.asks for row in rows)


@pytest.mark.parametrize("kind", list(IN_OTHER_FORMS))
def test_other_forms_are_values_of_training_that_are_words(kind: str) -> None:
    drawn = {IN_OTHER_FORMS[kind](Random(seed)) for seed in range(200)}
    assert len(drawn) > (10 if kind == "hour" else 30)
    assert all(value == " ".join(value.split()) and value for value in drawn)


def test_people_write_accents_decimals_and_numerals() -> None:
    said = " ".join(p.text for p in Prose(Random(1), POOL, WORDS).passages(2_000))
    assert re.search(r"[óöøõôáäåãâčćšž]", said)
    assert re.search(r"\d,\d{3}\b", said)
    assert re.search(r"\b\d+\.\d+ [a-z]", said)
    assert re.search(r"\b(eleven|twenty|half a dozen)\b", said)
    assert re.search(r"\b0\d:\d\d\b", said)


@given(st.integers(0, 10_000))
def test_a_passage_may_stand_behind_a_question_that_it_answers(seed: int) -> None:
    prose = Prose(Random(seed), POOL, WORDS)
    passage = prose.passage()
    question, answer = prose.headed(passage).split("\n")
    assert question.endswith("?")
    assert answer.removeprefix("A: ") == passage.text
    assert question.startswith("Q: ") == answer.startswith("A: ")


def test_asking_is_learned_from_prose_as_well() -> None:
    recipe = Recipe((1, 1), (8, 8), 6, prose=1.0, skills=1.0)
    segments = example(Random(3), recipe, WORDS, "train", POOL)
    seeds = [place for place, s in enumerate(segments) if s.text in SEEDS.values()]
    assert seeds
    assert all(segments[place + 3].text.endswith("?") for place in seeds)
