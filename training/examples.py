"""Study examples: a conversation's tokens with the teacher's top-k log-probabilities, in Parquet.

The file is written once and whole, so that a resumed run reads what the first one made. This file
knows no model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.room import written


@dataclass(frozen=True, slots=True)
class StudyExample:
    """One question and answer behind a document.

    `prompt` are the ids from the document's end to the answer's start; `answer` the answer's ids
    with its end token (`n`); `top_ids` int32 `[n, k]` and `top_logprobs` float32 `[n, k]` are what
    the teacher thought at each of them. `question` is what was asked, in words; `rivals` are the other
    documents that retrieval brings for it, best first, where that has been looked up.
    """

    kind: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]
    question: str = ""
    rivals: tuple[str, ...] = ()


def sureness(top_logprobs: NDArray[np.float32]) -> float:
    """The probability (0 to 1) of a greedy answer's least likely token, from log-probabilities `[n, k]`."""
    return float(np.exp(top_logprobs[:, 0].min()))


def write_examples(
    path: Path,
    examples: Sequence[StudyExample],
    seconds: float = 0.0,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write examples to a Parquet file, whole or not at all.

    `seconds` are what making them took before the run that writes them; `about` is kept with them.
    """
    width = examples[0].top_ids.shape[1] if examples else 0
    table = pa.table(
        {
            "kind": [e.kind for e in examples],
            "question": [e.question for e in examples],
            "rivals": pa.array([e.rivals for e in examples], pa.list_(pa.string())),
            "prompt": pa.array([e.prompt for e in examples], pa.list_(pa.int32())),
            "answer": pa.array([e.answer for e in examples], pa.list_(pa.int32())),
            "top_ids": pa.array([e.top_ids.ravel() for e in examples], pa.list_(pa.int32())),
            "top_logprobs": pa.array(
                [e.top_logprobs.ravel() for e in examples], pa.list_(pa.float32())
            ),
        },
        metadata={"top_k": json.dumps(width), "seconds": json.dumps(seconds), **(about or {})},
    )
    with written(path) as aside:
        pq.write_table(table, aside)


def read_examples(path: Path) -> list[StudyExample]:
    """Read what `write_examples` wrote."""
    table = pq.read_table(path)
    width = json.loads(table.schema.metadata[b"top_k"])
    return [
        StudyExample(
            kind=row["kind"],
            prompt=tuple(row["prompt"]),
            answer=tuple(row["answer"]),
            top_ids=np.array(row["top_ids"], dtype=np.int32).reshape(-1, width),
            top_logprobs=np.array(row["top_logprobs"], dtype=np.float32).reshape(-1, width),
            question=row["question"],
            rivals=tuple(row["rivals"]),
        )
        for row in table.to_pylist()
    ]


def seconds_before(path: Path) -> float:
    """What making the file's examples took before the run that wrote it."""
    return float(json.loads(read_about(path).get("seconds", "0")))


def read_about(path: Path) -> dict[str, str]:
    """What is kept with the file's examples, by name."""
    metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}
