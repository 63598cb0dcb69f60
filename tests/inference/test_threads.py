"""Torch's threads: who computes has as many as were asked for, others have one."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from inference.batch import Batch
from inference.engine import LocalEngine, Request, answering_threads
from inference.reader import load_reader
from inference.sampling import Sampling
from inference.threads import compute_alone, compute_with
from tests.models import write_tiny_model


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def seen_by_another(first: Callable[[], object] = lambda: None) -> int:
    seen: list[int] = []

    def look() -> None:
        first()
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return seen[0]


def test_only_who_computes_has_many_threads() -> None:
    torch.set_num_threads(3)
    assert compute_alone() == 3
    assert torch.get_num_threads() == 1
    assert seen_by_another() == 1
    assert seen_by_another(lambda: compute_with(3)) == 3
    assert seen_by_another() == 1
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("small", "expected"), [(1, 3), (50_000_000, 1)])
def test_a_small_reader_is_decoded_with_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int, expected: int
) -> None:
    reader = load_reader(write_tiny_model(tmp_path), dtype="float32")
    seen: set[int] = set()
    step = Batch.step

    def looked(self: Batch) -> object:
        seen.add(torch.get_num_threads())
        return step(self)

    monkeypatch.setattr(Batch, "step", looked)
    monkeypatch.setattr("inference.engine._SMALL", small)
    engine = LocalEngine(reader, threads=answering_threads(reader, 3))
    try:
        engine.submit(Request("Who?", (), (), Sampling(max_tokens=2))).result()
    finally:
        engine.close()
    assert seen == {expected}
