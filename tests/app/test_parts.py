"""The parts that the settings name, as they are made for a service."""

from pathlib import Path

import numpy as np
import pytest
import torch

from app.fleet import open_fleet
from app.parts import Parts
from app.settings import Settings
from app.wide_encoder import WideEncoder
from inference.threads import compute_alone
from retrieval.encoder import LexicalEncoder, Vectors
from tests.models import write_model_from_elsewhere
from training.settings import TrainingSettings


def test_a_reader_from_elsewhere_is_told_how_to_say_that_nothing_is_stated(tmp_path: Path) -> None:
    folder = write_model_from_elsewhere(tmp_path)
    settings = Settings(reader=str(folder), dtype="float32", not_stated="Unknown.", fleet="local")
    reader = Parts().reader(settings)
    told = reader.chat.instructions
    assert told.endswith("If the text does not say it, answer: Unknown.")
    fleet = open_fleet(settings, reader, TrainingSettings())
    assert fleet is not None
    assert fleet.reader.instructions == told
    assert fleet.reader.as_told == reader.as_told
    assert Parts().reader(Settings()).chat.instructions == ""  # the bundled one


class _Counting(LexicalEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def encode(self, texts: object) -> Vectors:
        self.threads.append(torch.get_num_threads())
        return super().encode(texts)  # type: ignore[arg-type]


def test_many_texts_are_encoded_by_many_threads_and_a_question_by_one() -> None:
    counting = _Counting()
    wide = WideEncoder(counting, 3)
    before = compute_alone()
    try:
        assert (wide.name, wide.dimension) == (counting.name, counting.dimension)
        texts = [f"text {number}" for number in range(20)]
        vectors = wide.encode(texts)
        wide.encode(["a question"])
        assert counting.threads == [3, 1]
        np.testing.assert_array_equal(vectors, LexicalEncoder().encode(texts))
    finally:
        torch.set_num_threads(before)


def test_what_the_encoder_raises_is_raised() -> None:
    class Broken(LexicalEncoder):
        def encode(self, texts: object) -> Vectors:
            raise RuntimeError("no vectors")

    with pytest.raises(RuntimeError, match="no vectors"):
        WideEncoder(Broken(), 2).encode(["text"] * 20)
