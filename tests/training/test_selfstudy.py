"""Self-study: every sentence is asked about, and what proves nothing is dropped."""

import math
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.reader import Reader, load_reader
from tests.models import TEXT, write_tiny_model
from training.selfstudy import Conversation, _least_asked, answer, ask
from training.settings import TrainingSettings
from training.windows import Windows

SETTINGS = TrainingSettings(
    min_conversations=24,
    conversations_per_token=0.01,
    held_out=4,
    max_question=6,
    max_answer=6,
    asking_temperature=2.0,
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 60))
def test_the_least_asked_sentence_is_always_next(times: list[int], count: int) -> None:
    totals = list(times)
    for index in _least_asked(times, count, Random(0)):
        assert totals[index] == min(totals)
        totals[index] += 1


def test_every_sentence_is_asked_about_as_often(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first round's questions repeat; the next asks where none was found."""
    rounds: list[list[str]] = []

    def asked(_reader: Reader, contexts: list[str], *_: object) -> list[tuple[str, bool]]:
        rounds.append(contexts)
        numbered = enumerate(contexts) if len(rounds) > 1 else ((0, c) for c in contexts)
        return [(f"{len(rounds)}/{number} {text}", True) for number, text in numbered]

    monkeypatch.setattr("training.selfstudy.asked", asked)
    settings = replace(
        SETTINGS, window_min=1, window_max=1, generation_batch=200, min_conversations=100
    )
    conversations = ask(reader, TEXT, settings, lambda _: None)
    assert len(rounds) == 2
    sentences = len(Windows(TEXT, reader.count))
    assert len(set(rounds[0])) == sentences
    counts = Counter(c.context for c in conversations if c.kind != "unanswered")
    assert len(counts) == sentences
    assert max(counts.values()) - min(counts.values()) <= 1 + len(conversations) // 8
    assert {c.context for c in conversations if c.kind == "unanswered"} == {TEXT}


def test_questions_are_repeatable_and_many(reader: Reader) -> None:
    first = ask(reader, TEXT, SETTINGS, lambda _: None)
    assert first == ask(reader, TEXT, SETTINGS, lambda _: None)
    assert len(first) > 10


def test_answers_stand_with_the_teachers_thoughts(reader: Reader) -> None:
    conversations = ask(reader, TEXT, SETTINGS, lambda _: None)
    examples = list(answer(reader, conversations, SETTINGS, lambda _: None))
    assert examples
    for example in examples:
        assert example.top_ids.shape == (len(example.answer), SETTINGS.top_k)
        assert example.answer == tuple(example.top_ids[:, 0])


def test_a_window_that_does_not_answer_is_dropped(reader: Reader) -> None:
    asked = [Conversation("question", TEXT, "Who?"), Conversation("unanswered", TEXT, "Why?")]
    said = next(answer(reader, asked[:1], SETTINGS, lambda _: None)).answer
    refusal = TrainingSettings(max_answer=6, not_stated=reader.decode(said).strip())
    kinds = {e.kind for e in answer(reader, asked, refusal, lambda _: None)}
    assert kinds == {"unanswered"}


def test_guesses_are_dropped_where_enough_is_left(reader: Reader) -> None:
    asked = [Conversation("question", TEXT, f"Who was number {number}?") for number in range(12)]
    every = list(answer(reader, asked, replace(SETTINGS, sure_at=1e-9), lambda _: None))
    surest = sorted(float(e.top_logprobs[:, 0].min()) for e in every)
    middle = math.exp(surest[len(surest) // 2])
    half = list(answer(reader, asked, replace(SETTINGS, sure_at=middle), lambda _: None))
    assert len(half) == len(every) - len(every) // 2
    none = list(answer(reader, asked, replace(SETTINGS, sure_at=0.999), lambda _: None))
    assert len(none) == len(every)
