"""Questions of several steps: their answers rest on facts of the sheets, and wordings are apart."""

from functools import cache
from random import Random

import pytest

from reader import wider
from reader.collection import KINDS, CollectionPlan, draw_collection
from reader.paths import word_list
from reader.tokenizer import dictionary
from reader.wider import WIDER, Asker, Question, Wordings
from reader.world import Group


@cache
def words() -> tuple[str, ...]:
    return tuple(dictionary(word_list()))


def drawn(kind: str, count: int = 12) -> list[Question]:
    found: list[Question] = []
    for seed in range(200):
        group = Group(Random(seed), "eval", words())
        group.recurring, group.repeats = 0.5, 0.4
        sheets = [group.sheet(14) for _ in range(2)]
        question = Asker(group.rng, "eval", [s.facts for s in sheets]).draw(kind)
        if question is not None:
            found.append(question)
        if len(found) == count:
            return found
    raise AssertionError(f"only {len(found)} questions of kind {kind}")


@pytest.mark.parametrize("kind", WIDER)
def test_every_kind_is_drawn_and_its_answer_holds_its_value(kind: str) -> None:
    for question in drawn(kind):
        assert question.kind == kind
        assert question.value.lower() in question.answer.lower()
        assert "{" not in question.text + question.answer


def test_two_hops_rest_on_two_facts_of_which_one_names_the_others_subject() -> None:
    for question in [*drawn("two_hop"), *drawn("join")]:
        first, second = question.facts
        assert first.value == second.subject
        assert first.value not in question.text
        assert question.value == second.value


def test_yes_and_no_are_both_asked() -> None:
    assert {question.value for question in drawn("yes_no", 30)} == {"yes", "no"}


def test_wordings_of_evaluation_are_not_wordings_of_training() -> None:
    forms = [form for form in vars(wider).values() if isinstance(form, Wordings)]
    assert len(forms) >= 6
    for form in forms:
        assert form.held_out
        assert not set(form.train) & set(form.held_out)


def test_a_collection_repeats_itself_and_names_its_documents() -> None:
    plan = CollectionPlan(documents=5, questions=6, seed=3)
    first = list(draw_collection(plan, words()))
    assert first == list(draw_collection(plan, words()))
    assert sum(len(documents) for documents, _ in first) == 5
    ids = {document.id for documents, _ in first for document in documents}
    for documents, questions in first:
        own = {document.id for document in documents}
        for question in questions:
            assert set(question.documents) <= own
            assert bool(question.documents) == (question.value is not None)
    assert len(ids) == 5


def test_every_kind_of_question_is_in_a_large_collection() -> None:
    plan = CollectionPlan(documents=24, questions=10, recurring=0.4, alike=0.4)
    kinds = {q.kind for _, questions in draw_collection(plan, words()) for q in questions}
    assert kinds == set(KINDS)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"layouts": ("poem",)}, "No kind of document"),
        ({"kinds": ("riddle",)}, "No kind of question"),
        ({"documents": 0}, "at least 1"),
        ({"alike": 2.0}, "shares"),
    ],
)
def test_an_impossible_collection_is_refused(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CollectionPlan(**wrong)  # type: ignore[arg-type]
