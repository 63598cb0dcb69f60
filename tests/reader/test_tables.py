"""Lists that people keep: what is asked stands there, what is left open does not."""

import re
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from reader import wider
from reader.names import split_of
from reader.parts import Parts
from reader.sayings import Told
from reader.tables import Tables
from reader.wider import Wordings
from reader.wordings import RELATIONS

WORDS = [f"word{number}" for number in range(400)]


def drawn(seed: int, count: int = 4) -> tuple[str, list[Told]]:
    rng = Random(seed)
    return Tables(rng, Parts(rng, WORDS)).table(count)


def bare(text: str) -> str:
    return " ".join(re.findall(r"[^\s,;:/|().]+", text.lower()))


@given(st.integers(0, 100_000), st.integers(1, 6))
def test_a_list_holds_its_rows_and_rows_what_their_answers_say(seed: int, count: int) -> None:
    text, rows = drawn(seed, count)
    assert 1 <= len(rows) <= count
    for row in rows:
        assert set(bare(row.text).split()) <= set(bare(text).split())
        for question, answer in row.asks:
            assert question[0].isupper()
            assert question.endswith("?")
            assert "{" not in question + answer
            nouns = set(re.findall(r"word\d+", question + answer))
            assert nouns <= set(re.findall(r"word\d+", row.text.lower()))


@given(st.integers(0, 100_000))
def test_an_answer_ends_in_what_the_row_says(seed: int) -> None:
    _, rows = drawn(seed)
    for row in rows:
        for _, answer in row.asks:
            if answer:  # "... is 4.2 kg.", "... was lent to Ines Vitley.", "... was born on 3 May."
                said = [answer[:-1][m.end() :] for m in re.finditer(r" (is|on|to|are) ", answer)]
                assert any(value in row.text for value in said), (answer, row.text)


@given(st.integers(0, 100_000))
def test_what_is_left_open_is_not_asked_as_well(seed: int) -> None:
    for row in drawn(seed)[1]:
        assert not {question for question, _ in row.asks} & set(row.open)


def test_what_is_asked_for_by_a_verb_is_told_by_it() -> None:
    asked = 0
    for seed in range(1_500):
        text, rows = drawn(seed)
        for question in (q for row in rows for q, _ in row.asks):
            found = re.search(r" (\w+)\?$", question)
            if found and found[1] != "born" and question.startswith(("By whom was ", "When was ")):
                asked += 1
                assert found[1] in text.lower()
    assert asked > 100


def test_a_cell_that_two_rows_have_is_asked_for_by_its_row_alone() -> None:
    for seed in range(400):
        _, rows = drawn(seed, 6)
        asked = Counter(question for row in rows for question in dict(row.asks))
        assert set(asked.values()) <= {1}


def test_no_list_asks_in_a_wording_of_evaluation() -> None:
    held_out = [t for r in RELATIONS.values() for t in (*r.eval_questions, *r.eval_statements)]
    held_out += [t for w in vars(wider).values() if isinstance(w, Wordings) for t in w.held_out]

    def pattern(template: str) -> re.Pattern[str]:
        fields = re.escape(template.replace("{adv}", "")).replace(r"\{N\}", r"\w+")
        return re.compile(re.sub(r"\\\{\w+\\\}", ".+", fields))

    patterns = [pattern(template) for template in held_out]
    for seed in range(1_500):
        text, rows = drawn(seed)
        for said in (text, *(q for row in rows for q in (*dict(row.asks), *row.open))):
            assert not [p.pattern for p in patterns if p.search(said)], said


def test_all_that_is_drawn_is_of_training() -> None:
    for seed in range(1_500):
        text, rows = drawn(seed)
        assert {split_of(noun) for noun in re.findall(r"\bword\d+\b", text.lower())} <= {"train"}
        for row in rows:
            for amount in re.findall(r"\b\w+ (?:euros|dollars|pounds|kg|mm|years)\b", row.text):
                assert split_of(amount) == "train"


def test_what_a_column_says_is_not_open_in_another_columns_words() -> None:
    for seed in range(2_000):
        for row in drawn(seed)[1]:
            asked, left = (
                " ".join(q for q in questions if not q.endswith(" born?"))
                for questions in (dict(row.asks), row.open)
            )
            for words in (
                ("When ", "On which day ", "At what time "),
                ("Where ", "In which place "),
            ):
                assert not (any(w in asked for w in words) and any(w in left for w in words)), row


def test_no_row_is_a_run_of_labels_as_the_held_out_kind_has_them() -> None:
    for seed in range(2_000):
        text, _ = drawn(seed)
        assert not re.search(r"^.+?\. [A-Z][^:|\n]*: [^|\n]+\.$", text, re.MULTILINE)


def test_departures_are_of_something_that_the_list_names() -> None:
    seen = 0
    for seed in range(600):
        text, rows = drawn(seed)
        for question, _ in (ask for row in rows for ask in row.asks):
            found = re.search(r"the (train|bus|ferry|boat|tram|coach) to ", question)
            if found:
                seen += 1
                assert found[1][:4] in text.lower()
    assert seen > 100
