"""Self-study: every sentence is asked about, and what proves nothing is dropped."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.composer import compose
from inference.decoding import Prompt, decode
from inference.reader import Reader, load_reader
from inference.sampling import Sampling
from tests.models import TEXT, write_tiny_model
from training.seeds import SEED_KINDS, SEEDS
from training.selfstudy import (
    Conversation,
    Grade,
    Topic,
    _is_left_open,
    _least,
    _standard,
    answer,
    converse,
    study,
)
from training.settings import TrainingSettings
from training.study_batches import StudyBatches
from training.teacher import Answer, answered, asked, read
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


def nothing(_: float) -> None:
    """Nobody is told."""


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 60))
def test_the_smallest_number_is_always_next(numbers: list[int], count: int) -> None:
    totals = list(numbers)
    for index in _least(numbers, count, Random(0)):
        assert totals[index] == min(totals)
        totals[index] += 1


class Talk:
    """A reader's two parts, said as a test likes: A numbers its questions, B is sure or not."""

    def __init__(self, reader: Reader, sure: float) -> None:
        self.contexts: list[list[str]] = []
        self._end, self._sure = reader.end_id, sure

    def asked(self, _: Reader, contexts: Sequence[str], *__: object) -> list[tuple[str, bool]]:
        self.contexts.append(list(contexts))
        return [(f"{len(self.contexts)}/{n} {text}", True) for n, text in enumerate(contexts)]

    def answered(self, _: Reader, contexts: Sequence[str], *__: object) -> list[Answer]:
        return [self.said(self._sure) for _ in contexts]

    def said(self, sure: float) -> Answer:
        ids = np.array([[5], [self._end]], dtype=np.int32)
        return Answer((5, self._end), ids, np.log(np.array([[1.0], [sure]], dtype=np.float32)))


@pytest.fixture
def talk(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Talk:
    made = Talk(reader, 0.9)
    # A window is read as itself: what is said behind it is the test's.
    monkeypatch.setattr("training.selfstudy.read", lambda _, contexts: {c: c for c in contexts})
    monkeypatch.setattr("training.selfstudy.asked", lambda *a: made.asked(*a))
    monkeypatch.setattr("training.selfstudy.answered", lambda *a: made.answered(*a))
    return made


ONE_BY_ONE = replace(
    SETTINGS, window_min=1, window_max=1, generation_batch=400, min_conversations=100
)


def test_every_sentence_is_asked_about_as_often(reader: Reader, talk: Talk) -> None:
    examples = study(reader, TEXT, ONE_BY_ONE, nothing)
    assert len(examples) == ONE_BY_ONE.conversations(reader.count(TEXT))
    (contexts,) = talk.contexts
    counts = [contexts.count(context) for context in set(contexts)]
    assert len(counts) == len(Windows(TEXT, reader.count))
    assert max(counts) - min(counts) <= 1


def test_where_guesses_fell_out_it_asks_again(
    reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B is unsure of one sentence in the first round: the second asks about that one most."""
    windows = Windows(TEXT, reader.count)
    hard = windows.at(1, 1)

    def answered(_: Reader, contexts: Sequence[str], *__: object) -> list[Answer]:
        first = len(talk.contexts) == 1
        return [talk.said(0.2 if first and context == hard else 0.9) for context in contexts]

    monkeypatch.setattr("training.selfstudy.answered", answered)
    examples = study(reader, TEXT, ONE_BY_ONE, nothing)
    first, second = talk.contexts
    assert len(examples) == ONE_BY_ONE.conversations(reader.count(TEXT)) == len(first)
    assert second.count(hard) > len(second) * 0.8
    assert min(float(e.top_logprobs.min()) for e in examples) > np.log(0.5)


def test_questions_heard_before_are_not_kept_again(
    reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "training.selfstudy.asked", lambda _, contexts, *__: [("Who?", True) for _ in contexts]
    )
    assert len(study(reader, TEXT, ONE_BY_ONE, nothing)) == 1


@pytest.mark.parametrize("batch", [3, 400])
def test_equal_questions_are_asked_of_the_longest_window(
    reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    contexts: list[str] = []

    def answered(_: Reader, read: Sequence[str], *__: object) -> list[Answer]:
        contexts.extend(read)
        return [talk.said(0.9) for _ in read]

    monkeypatch.setattr(
        "training.selfstudy.asked", lambda _, contexts, *__: [("Who?", True) for _ in contexts]
    )
    monkeypatch.setattr("training.selfstudy.answered", answered)
    topics = [Topic("question", place, "x" * (place * 5 % 7 + 1)) for place in range(7)]
    settings = replace(SETTINGS, generation_batch=batch)
    list(converse(reader, TEXT, topics, settings, 0, set(), nothing, StudyBatches()))
    assert contexts == ["x" * 7]


def test_what_a_window_may_leave_open_is_answered_from_all_of_the_text(
    reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[list[str]] = []
    monkeypatch.setattr(
        "training.selfstudy.answered",
        lambda _, contexts, *__: answered.append(contexts) or [talk.said(0.9) for _ in contexts],
    )
    topics = [Topic("unanswered", 0, "a"), Topic("question", 1, "bb"), Topic("unanswered", 2, "c")]
    list(converse(reader, TEXT, topics, SETTINGS, 0, set(), nothing, StudyBatches()))
    assert answered == [["bb"], [TEXT, TEXT]]


def test_progress_grows_to_the_whole(reader: Reader, talk: Talk) -> None:
    told: list[float] = []
    study(reader, TEXT, replace(ONE_BY_ONE, generation_batch=16), told.append)
    assert told == sorted(told)
    assert 0 < told[0] < 0.2
    assert told[-1] == 1.0


def test_study_is_repeatable(reader: Reader) -> None:
    first = study(reader, TEXT, SETTINGS, nothing)
    again = study(reader, TEXT, SETTINGS, nothing)
    assert [(e.prompt, e.answer) for e in first] == [(e.prompt, e.answer) for e in again]
    assert len(first) > 10
    for example in first:
        assert example.top_ids.shape == (len(example.answer), SETTINGS.top_k)
        assert example.answer == tuple(example.top_ids[:, 0])


class _Killed(Exception):
    """Ends a study in the middle."""


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6, 0.9])
def test_a_study_that_was_interrupted_goes_on_where_it_was(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    settings = replace(SETTINGS, generation_batch=6, unanswered=0.4)
    calls: list[int] = []

    def asking(*given: Any) -> Any:
        calls.append(1)
        return asked(*given)

    monkeypatch.setattr("training.selfstudy.asked", asking)
    whole = study(reader, TEXT, settings, nothing)
    batches = len(calls)

    def stopping(done: float) -> None:
        if done > after:
            raise _Killed

    with pytest.raises(_Killed):
        study(reader, TEXT, settings, stopping, folder=tmp_path / "under way")
    talked = [path for path in tmp_path.rglob("*.parquet") if "open" not in path.name]
    assert len(talked) > 0 or after < 0.1
    calls.clear()
    told: list[float] = []
    again = study(reader, TEXT, settings, told.append, folder=tmp_path / "under way")
    assert [(e.kind, e.prompt, e.answer) for e in again] == [
        (e.kind, e.prompt, e.answer) for e in whole
    ]
    for one, other in zip(again, whole, strict=True):
        np.testing.assert_array_equal(one.top_logprobs, other.top_logprobs)
    assert told == sorted(told)
    assert len(calls) == batches - len(talked)


def test_batches_of_something_else_are_not_read(reader: Reader, tmp_path: Path) -> None:
    def stopping(done: float) -> None:
        if done > 0.5:
            raise _Killed

    settings = replace(SETTINGS, generation_batch=6)
    with pytest.raises(_Killed):
        study(reader, TEXT, settings, stopping, folder=tmp_path / "batches")
    for path in sorted((tmp_path / "batches").rglob("*.parquet"))[:1]:
        path.write_bytes(b"damaged")
    other = TEXT.replace("gate", "door")
    for text in (other, TEXT):
        found = study(reader, text, settings, nothing, folder=tmp_path / "batches")
        assert [e.answer for e in found] == [
            e.answer for e in study(reader, text, settings, nothing)
        ]


def test_a_window_that_does_not_answer_is_dropped(reader: Reader) -> None:
    asked = [
        Conversation(Topic("question", 0, TEXT), "Who?"),
        Conversation(Topic("unanswered", 0, TEXT), "Why?"),
    ]
    prefixes = read(reader, [TEXT])
    ((_, _, example),) = answer(reader, prefixes, asked[:1], SETTINGS)
    refusal = replace(SETTINGS, not_stated=reader.decode(example.answer).strip())
    assert [place for place, _, _ in answer(reader, prefixes, asked, refusal)] == [1]


@pytest.mark.parametrize(
    ("said", "left_open"),
    [
        ("That is not stated.", True),
        ("That is not stated in the text.", True),
        ("that is not stated", True),
        ("The rent is 740 euros.", False),
        ("It says: that is not stated.", False),
    ],
)
def test_not_stated_is_known_by_how_it_begins(said: str, left_open: bool) -> None:
    assert _is_left_open(said, SETTINGS.not_stated) is left_open


@pytest.mark.parametrize(("ended", "answered"), [(4, 4), (3, 3), (2, 6)])
def test_cut_questions_are_answered_only_where_most_are(
    reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch, ended: int, answered: int
) -> None:
    monkeypatch.setattr(
        "training.selfstudy.asked",
        lambda _, contexts, *__: [(f"Who {n}?", n < ended) for n in range(len(contexts))],
    )
    topics = [Topic("question", place, f"window {place}") for place in range(6)]
    said = list(converse(reader, TEXT, topics, SETTINGS, 0, set(), nothing, StudyBatches()))
    assert len(said) == answered


def test_who_was_not_trained_on_the_prompts_is_told_to_name_things(
    reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def asked(_: Reader, contexts: Sequence[str], seeds: Sequence[str], *__: object) -> object:
        heard.extend(seeds)
        return [(f"Who {n}?", True) for n in range(len(contexts))]

    monkeypatch.setattr("training.selfstudy.asked", asked)
    for instructions in ("", "Answer in one sentence."):
        monkeypatch.setattr(reader.chat, "instructions", instructions)
        topics = [Topic(kind, 0, TEXT) for kind in SEED_KINDS]
        list(converse(reader, TEXT, topics, SETTINGS, 0, set(), nothing, StudyBatches()))
    plain, told = heard[: len(SEED_KINDS)], heard[len(SEED_KINDS) :]
    assert set(plain) == set(SEEDS.values())
    assert all(
        seed.startswith(bare) and "Name the people" in seed
        for bare, seed in zip(plain, told, strict=True)
    )


def test_what_is_read_once_is_answered_as_if_it_were_read_each_time(reader: Reader) -> None:
    """Contexts of different lengths, one of them twice, beside each other and alone."""
    contexts = [TEXT[:40], TEXT[:160], TEXT[:40]]
    questions = ["Who has the keys?", "Who?", "When was it?"]
    prefixes = read(reader, contexts)
    assert len(prefixes) == 2
    found = answered(reader, [prefixes[text] for text in contexts], questions, 8, 4)
    for text, question, said in zip(contexts, questions, found, strict=True):
        ids = [*reader.chat.documents([text]), *reader.chat.question(question)]
        (alone,) = decode(reader, [Prompt(compose(reader), ids, Sampling(8))])
        assert [token for token in said.ids if token != reader.end_id] == alone


def test_answers_are_graded(reader: Reader, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic("question", 0, TEXT)
    cut = Answer((5,), np.array([[5]], dtype=np.int32), np.zeros((1, 1), dtype=np.float32))
    answers = [talk.said(0.9), talk.said(0.4), cut, talk.said(0.9)]
    monkeypatch.setattr("training.selfstudy.answered", lambda *_: answers)
    asked = [Conversation(topic, f"Who was {n}?", ended=n < 3) for n in range(4)]
    grades = [grade for _, grade, _ in answer(reader, {TEXT: compose(reader)}, asked, SETTINGS)]
    assert grades == [Grade.SURE, Grade.GUESSED, Grade.ENDLESS, Grade.ENDLESS]


@pytest.mark.parametrize(
    ("sure", "guessed", "endless", "standard"),
    [
        (5, 5, 0, Grade.SURE),
        (4, 5, 1, Grade.GUESSED),
        (0, 3, 9, Grade.GUESSED),
        (0, 2, 9, Grade.ENDLESS),
        (0, 0, 0, Grade.SURE),
    ],
)
def test_no_more_is_asked_of_answers_than_the_reader_gives(
    sure: int, guessed: int, endless: int, standard: Grade
) -> None:
    grades = [Grade.SURE] * sure + [Grade.GUESSED] * guessed + [Grade.ENDLESS] * endless
    assert _standard(grades) is standard
