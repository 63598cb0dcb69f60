import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.encoder import Encoder, LexicalEncoder, MiniLmEncoder
from retrieval.errors import EncoderUnavailable

TEXTS = [
    "The boiler was serviced by Franz Huber.",
    "The choir sings on Thursdays.",
    "",
    " \n",
    "?!",
    "水" * 3000,
    "word " * 5000,
    "x" * 10_000,
]


@pytest.fixture(params=["minilm", "lexical"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param == "lexical":
        return LexicalEncoder()
    encoder: Encoder = request.getfixturevalue("minilm")
    return encoder


class TestEveryEncoder:
    def test_vectors_are_float32_of_length_one(self, encoder: Encoder) -> None:
        vectors = encoder.encode(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), encoder.dimension)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_no_texts_give_no_vectors(self, encoder: Encoder) -> None:
        assert encoder.encode([]).shape == (0, encoder.dimension)

    def test_a_text_has_one_vector_whatever_stands_beside_it(self, encoder: Encoder) -> None:
        alone = np.concatenate([encoder.encode([text]) for text in TEXTS[:5]])
        np.testing.assert_allclose(encoder.encode(TEXTS[:5]), alone, atol=1e-5)

    def test_likeness_orders_texts(self, encoder: Encoder) -> None:
        question = encoder.encode(["Who serviced the boiler?"])[0]
        boiler, choir = encoder.encode(TEXTS[:2]) @ question
        assert boiler > choir + 0.1

    def test_threads_may_encode_at_once(self, encoder: Encoder) -> None:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(encoder.encode, [TEXTS[:3]] * 8))
        for vectors in results:
            np.testing.assert_allclose(vectors, results[0], atol=1e-5)

    def test_it_has_a_name(self, encoder: Encoder) -> None:
        assert encoder.name


def test_the_lexical_encoder_is_the_same_in_every_process() -> None:
    program = (
        "from retrieval.encoder import LexicalEncoder;"
        "print(LexicalEncoder(64).encode(['The boiler of the garden flat'])[0].tobytes().hex())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    here = LexicalEncoder(64).encode(["The boiler of the garden flat"])[0]
    assert printed == here.tobytes().hex()


def test_minilm_understands_other_words(minilm: MiniLmEncoder) -> None:
    question = minilm.encode(["When does the singing group meet?"])[0]
    boiler, choir = minilm.encode(TEXTS[:2]) @ question
    assert choir > boiler + 0.2


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="all-MiniLM-L6-v2"):
        MiniLmEncoder(tmp_path)


def test_a_broken_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(EncoderUnavailable, match="reinstall"):
        MiniLmEncoder(tmp_path).encode(["text"])


def test_a_dimension_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="dimension"):
        LexicalEncoder(0)


def test_a_question_goes_before_the_rest_of_a_book_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model is a stand-in that waits for each batch to be let through."""
    encoder = MiniLmEncoder(batch_size=2)
    begun: list[str] = []
    through = threading.Semaphore(0)

    class Model:
        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            begun.append(texts[0])
            assert through.acquire(timeout=30)
            return np.zeros((len(texts), 384), dtype=np.float32)

    monkeypatch.setattr(encoder, "_model", Model())
    monkeypatch.setattr("retrieval.encoder._MOST_AHEAD", 2)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(encoder.encode, [f"book {n}" for n in range(6)])]
        while begun != ["book 0"]:
            time.sleep(0.001)
        asked += [pool.submit(encoder.encode, [f"question {n}"]) for n in range(4)]
        while encoder._turns._waiting[True] < 4:
            time.sleep(0.001)
        through.release(7)
        for each in asked:
            each.result(30)
    kinds = [text.split()[0] for text in begun]
    assert kinds == ["book", "question", "question", "book", "question", "question", "book"]
