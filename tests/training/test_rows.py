"""Rows: frozen documents are asked about too, always with a learner beside them."""

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.examples import StudyExample
from training.mixing import Mixing
from training.rows import Draw

NOTHING = np.zeros((1, 1))


def example(about: str) -> StudyExample:
    ids, logprobs = NOTHING.astype(np.int32), NOTHING.astype(np.float32)
    return StudyExample("question", (1,), (2,), ids, logprobs, about)


STUDIES = {name: [example(name)] for name in ("a", "b", "old", "older", "oldest")}


def draw(**changes: object) -> Draw:
    usual: dict[str, object] = {
        "mixing": Mixing(alone=0.3, most=3),
        "weights": {"a": 2.0, "b": 1.0},
        "study": STUDIES.__getitem__,
        "nearest": {"old": ("oldest", "a"), "a": ("old",)},
    }
    return Draw(**(usual | changes))  # type: ignore[arg-type]


@given(st.integers(0, 10_000))
def test_a_frozen_documents_question_has_a_learner_beside_it(seed: int) -> None:
    drawn = draw(frozen=["old", "older", "oldest"], guarded=["old", "older"], guard=0.5)
    rows = drawn.rows(40, Random(seed))
    about = {row.own for row in rows}
    # One whose study is not known stands beside, and is never asked about.
    assert about <= {"a", "b", "old", "older"}
    for row in rows:
        assert row.own in row.visible
        assert row.example.question == row.own
        assert [*row.visible] == sorted(set(row.visible))
        assert {"a", "b"} & {*row.visible}


def test_what_a_question_brings_is_harder_than_what_its_document_is_like() -> None:
    hard = Mixing(alone=0.0, most=1, hard=1.0)
    rival = replace(STUDIES["old"][0], rivals=("older",))
    drawn = draw(mixing=hard, weights={"old": 1.0}, study=lambda _: [rival], frozen=["older", "a"])
    assert {row.visible for row in drawn.rows(20, Random(0))} == {("old", "older")}
    drawn = draw(mixing=hard, weights={"old": 1.0}, frozen=["older", "a"])  # which brings nobody
    assert {row.visible for row in drawn.rows(20, Random(0))} == {("a", "old")}


def test_as_many_rows_guard_as_are_asked_for() -> None:
    drawn = draw(frozen=["old", "older"], guarded=["old", "older"], guard=0.25)
    rows = drawn.rows(4_000, Random(0))
    share = sum(row.own in ("old", "older") for row in rows) / len(rows)
    assert 0.22 < share < 0.28
    # Learners are drawn by their weights, as without anybody frozen.
    mine = [row.own for row in rows if row.own in ("a", "b")]
    assert 0.62 < mine.count("a") / len(mine) < 0.71
    # Without a study of theirs nobody can be guarded, and they still stand beside.
    bare = draw(frozen=["old", "older"], guard=0.25).rows(400, Random(0))
    assert {row.own for row in bare} == {"a", "b"}
    assert any("old" in row.visible for row in bare)


def test_where_its_document_is_not_seen_a_question_has_no_answer() -> None:
    names = ("old", "older")
    drawn = draw(frozen=names, absent=0.3, silence=(7, 8, 1))
    rows = drawn.rows(2_000, Random(0))
    absent = [row for row in rows if row.own is None]
    assert 0.26 < len(absent) / len(rows) < 0.34
    for row in absent:
        assert row.example.question not in row.visible
        assert row.visible
        assert row.example.answer == (7, 8, 1)
        assert row.example.top_ids[:, 0].tolist() == [7, 8, 1]
        assert np.exp(row.example.top_logprobs).sum(axis=1).tolist() == [1.0, 1.0, 1.0]
        assert {"a", "b"} & {*row.visible}  # somebody learns from it
    # Who learns alone is asked what frozen ones know; where nobody's study is known, nothing is.
    alone = draw(weights={"a": 1.0}, frozen=names, guarded=["old"], absent=0.3, silence=(7,))
    silent = [row for row in alone.rows(400, Random(0)) if row.own is None]
    assert silent
    for row in silent:
        assert row.example.question == "old"
        assert "a" in row.visible
        assert "old" not in row.visible
    unknown = draw(weights={"a": 1.0}, frozen=names, absent=0.3, silence=(7,))
    assert all(row.own == "a" for row in unknown.rows(400, Random(0)))
    # Without any, rows are what they always were.
    same = [
        draw(frozen=names).rows(40, Random(3)),
        draw(frozen=names, silence=(7,)).rows(40, Random(3)),
    ]
    assert same[0] == same[1]


def test_examples_are_drawn_by_what_is_due_of_them() -> None:
    study = [example(str(number)) for number in range(4)]
    drawn = draw(
        weights={"a": 1.0},
        study=lambda _: study,
        frozen=["old"],
        due=lambda _: [0.5, 0.0, 3.0, 0.5],
    )
    rows = drawn.rows(4_000, Random(0))
    assert all(row.place is not None and study[row.place] is row.example for row in rows)
    count = Counter(row.place for row in rows)
    assert count[1] == 0
    assert 2_850 < count[2] < 3_150
    assert 400 < count[0] < 600


def test_without_it_all_are_alike_and_what_does_not_learn_has_no_place() -> None:
    study = [example(str(number)) for number in range(4)]
    drawn = draw(
        weights={"a": 1.0},
        study=lambda _: study,
        frozen=["old"],
        guarded=["old"],
        guard=0.5,
        general=[example("")],
        general_share=0.5,
    )
    rows = drawn.rows(4_000, Random(0))
    count = Counter(row.place for row in rows if row.own == "a")
    assert {*count} == {0, 1, 2, 3}
    assert min(count.values()) > 200
    assert {row.place for row in rows if row.own != "a"} == {None}
