"""The committed checkpoint: small enough, its own fingerprint, and it reads what it never saw."""

import pytest
import torch

from evaluation.arms import answers, no_context
from evaluation.gates import score
from evaluation.held_out import held_out
from evaluation.scoring import states
from inference.composer import in_context
from inference.reader import Reader, load_reader
from reader.paths import bundled_reader
from reader.wordings import NOT_STATED
from tests.bundled import measured, needs_a_reader_that_reads

NEWCOMER = """# The garden flat

The boiler of the garden flat was last serviced by Franz Huber.
The rent of the garden flat is 740 euros.
The spare key of the garden flat is kept behind the mirror.
"""


@pytest.fixture(scope="module")
def reader() -> Reader:
    torch.manual_seed(0)
    return load_reader(bundled_reader())


def test_the_checkpoint_is_small() -> None:
    size = sum(path.stat().st_size for path in bundled_reader().rglob("*") if path.is_file())
    assert size <= 20e6


@needs_a_reader_that_reads
def test_a_newcomers_sheet_is_read(reader: Reader) -> None:
    said = answers(
        reader,
        in_context(reader, [NEWCOMER]),
        [
            "Who serviced the boiler of the garden flat?",
            "What is the rent of the garden flat?",
            "Where is the spare key of the garden flat kept?",
        ],
    )
    for answer, value in zip(said, ("Franz Huber", "740 euros", "behind the mirror"), strict=True):
        assert states(answer, value), answer


def test_held_out_sheets_are_read_in_context_and_not_without(reader: Reader) -> None:
    right: list[bool] = []
    blind: list[bool] = []
    for seed in (1, 2, 3):
        drawn = held_out(seed, sheets=1, questions=12, count=reader.count)
        right += score(reader, in_context(reader, [drawn.sheets[0].text]), drawn.items)
        blind += score(reader, no_context(reader), drawn.items, bare=True)
    # 36 questions: two standard errors of a share are at most 0.17.
    assert sum(right) / len(right) >= measured("icl_em") - 0.2
    assert sum(blind) <= 2


@needs_a_reader_that_reads
def test_what_is_not_stated_is_said_to_be(reader: Reader) -> None:
    said = answers(
        reader, in_context(reader, [NEWCOMER]), ["Who is the architect of the garden flat?"]
    )
    assert said == [NOT_STATED]
