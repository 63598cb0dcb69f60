"""Records: one question answered by one arm, kept as Parquet so that anyone can score them again.

This file knows the fields and the folder that keeps them. It asks nothing, scores nothing and knows no
report.
"""

import dataclasses
import hashlib
import logging
import math
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

logger = logging.getLogger(__name__)

Kind = Literal["span", "choice", "free", "unanswerable"]
Key = tuple[str, int, str]

_FORMAT = "1"
_TEXTS = pa.list_(pa.string())
_SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("question_id", pa.string()),
        ("question", pa.string()),
        ("golds", _TEXTS),
        ("kind", pa.string()),
        ("gold_documents", _TEXTS),
        ("sources", _TEXTS),
        ("answer", pa.string()),
        ("score", pa.float64()),
        ("exact", pa.bool_()),
        ("f1", pa.float64()),
        ("abstained", pa.bool_()),
        ("invalid", pa.bool_()),
        ("prompt_tokens", pa.int64()),
        ("cartridge_slots", pa.int64()),
        ("kv_bytes", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("first_token_ms", pa.float64()),
        ("total_ms", pa.float64()),
        ("notices", _TEXTS),
        ("rouge_l", pa.float64()),
        ("chrf", pa.float64()),
    ]
)
_LATER = {"rouge_l", "chrf"}  # columns that parts of an earlier program do not have


@dataclass(frozen=True, slots=True)
class Record:
    """One question answered by one arm with one seed.

    Attributes:
        arm: name of the way of answering, such as `"rag"`.
        golds: accepted answers; empty for what cannot be answered.
        gold_documents: ids of the documents that hold the answer, where that is known.
        sources: ids of the documents that were mounted, best first.
        score: the main score, 0 to 1.
        exact: whether the answer equals a gold answer after normalisation.
        f1: the best token F1 against a gold answer, 0 to 1.
        abstained: whether the arm said that the answer is not stated.
        invalid: whether the answer could not be read as one, such as no letter for a choice.
        prompt_tokens: tokens of text that were read, the question among them.
        cartridge_slots: trained slots that were mounted.
        kv_bytes: bytes of keys and values that the question held.
        first_token_ms, total_ms: milliseconds since the question was sent.
        notices: sentences in which the service said what did not go as asked.
        rouge_l, chrf: of a free answer, the best against a gold answer, 0 to 1; None of others.

    Raises:
        ValueError: when a score is not within 0 to 1, a cost is negative or not finite, or the kind
            is unknown.
    """

    arm: str
    seed: int
    question_id: str
    question: str
    golds: tuple[str, ...]
    kind: Kind
    gold_documents: tuple[str, ...]
    sources: tuple[str, ...]
    answer: str
    score: float
    exact: bool
    f1: float
    abstained: bool
    invalid: bool
    prompt_tokens: int
    cartridge_slots: int
    kv_bytes: int
    completion_tokens: int
    first_token_ms: float
    total_ms: float
    notices: tuple[str, ...] = ()
    rouge_l: float | None = None
    chrf: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"A question of kind {self.kind!r} is unknown.")
        for name in ("score", "f1", "rouge_l", "chrf"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not between 0 and 1.")
        for name in (
            *("prompt_tokens", "cartridge_slots", "kv_bytes", "completion_tokens"),
            *("first_token_ms", "total_ms"),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}, which no measurement can be.")

    @property
    def key(self) -> Key:
        """What may be recorded once: arm, seed and question."""
        return self.arm, self.seed, self.question_id


class RecordFolder:
    """A folder of part files, each written whole or not at all; several writers may add to it.

    `study` names what the records were measured with (a hash of the settings, say): a folder keeps
    the records of one study only, so that a resumed run cannot mix two.
    """

    def __init__(self, folder: Path, study: str = "") -> None:
        self._folder = folder
        self._study = study

    def add(self, records: Sequence[Record]) -> None:
        """Keep `records` as one more part, on disk when this returns; nothing for no records.

        Raises:
            OSError: when the folder cannot be written.
        """
        if not records:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        columns = {
            name: [_plain(getattr(each, name)) for each in records] for name in _SCHEMA.names
        }
        about = {"records": _FORMAT, "study": self._study}
        table = pa.table(columns, schema=_SCHEMA.with_metadata(about))
        data = pa.BufferOutputStream()
        pq.write_table(table, data, compression="zstd", write_page_checksum=True)
        content = data.getvalue().to_pybytes()

        # The number keeps the order of writing; the hash keeps two writers of one number apart.
        number = 1 + max((int(part.name.split("-")[1]) for part in self._parts()), default=0)
        name = f"part-{number:06d}-{hashlib.sha256(content).hexdigest()[:12]}.parquet"
        aside = self._folder / f".{name}.{os.getpid()}.{threading.get_ident()}.tmp"
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._folder / name)

    def read(self) -> list[Record]:
        """All records in the order of writing, each (arm, seed, question) once, the first one kept.

        A part that cannot be read was cut short or damaged: it is left out with a warning, so that
        its questions are asked again.

        Raises:
            ValueError: when a part is of another study or of another format.
        """
        return unique(record for part in self._parts() for record in self._records(part))

    def done(self) -> set[Key]:
        """The (arm, seed, question) that need not be asked again."""
        return {record.key for record in self.read()}

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-??????-*.parquet"))

    def _records(self, part: Path) -> list[Record]:
        try:
            table = pq.ParquetFile(part, page_checksum_verification=True).read()
        except (pa.ArrowException, OSError) as error:
            logger.warning("%s is left out, it cannot be read: %s", part.name, error)
            return []
        about = table.schema.metadata or {}
        if about.get(b"records") != _FORMAT.encode() or set(_SCHEMA.names) - _LATER - {
            *table.column_names
        }:
            raise ValueError(f"{part.name} has another format; begin with an empty folder.")
        if about.get(b"study", b"") != self._study.encode():
            raise ValueError(
                f"{part.name} was measured with other settings; begin with an empty folder."
            )
        known = [name for name in _SCHEMA.names if name in table.column_names]
        return [_record(row) for row in table.select(known).to_pylist()]


def unique(records: Iterable[Record]) -> list[Record]:
    """`records` with each (arm, seed, question) once, the first one kept."""
    kept: dict[Key, Record] = {}
    for record in records:
        kept.setdefault(record.key, record)
    return list(kept.values())


def _record(row: dict[str, Any]) -> Record:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    return Record(**fields)


def _plain(value: Any) -> Any:
    # Half a surrogate pair, as JSON may hold one, has no UTF-8; a report is not lost for it.
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


assert _SCHEMA.names == [field.name for field in dataclasses.fields(Record)]
