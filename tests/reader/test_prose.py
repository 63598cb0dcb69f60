"""Prose: sentences of documentation, questions that leave a span out, answers that quote."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reader.prose import FUNCTION_WORDS, Prose, sentences
from reader.tasks import Recipe, example
from reader.wordings import NOT_STATED
from training.seeds import SEEDS

POOL = [
    "The cached value is returned whenever the same argument is passed again.",
    "Every worker closes its connection before the server stops.",
    "Raised when the file, or the folder that holds it, cannot be opened.",
]
WORDS = ["lantern", "orchard", "velvet", "harbour", "saddle"]


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
    question = prose.question(passage, damaged=False)
    assert question.endswith("?")
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
        assert prose.question(prose.passage())


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
    assert {"", "word", "person", "place", "day", "hour", "number", "amount", "name"} == kinds


@pytest.mark.parametrize("seed", range(6))
def test_answers_quote_a_sentence_of_the_documents(seed: int) -> None:
    recipe = Recipe((1, 3), (4, 12), 6, prose=1.0)
    system, *turns = example(Random(seed), recipe, WORDS, "train", POOL)[2:]
    said = [s.text for s in turns if s.learned and not s.special]
    quoted = [text for text in said if text in system.text]
    assert len(quoted) > len(said) / 2  # the others answer about a sheet of the world
    stray = example(Random(seed), replace(recipe, unstated=1.0), WORDS, "train", POOL)
    assert NOT_STATED in {s.text for s in stray}


def test_asking_is_learned_from_prose_as_well() -> None:
    recipe = Recipe((1, 1), (8, 8), 6, prose=1.0, skills=1.0)
    segments = example(Random(3), recipe, WORDS, "train", POOL)
    seeds = [place for place, s in enumerate(segments) if s.text in SEEDS.values()]
    assert seeds
    assert all(segments[place + 3].text.endswith("?") for place in seeds)
