"""The heavy parts, which take long or much memory to make; tests put lighter ones in their places.

Knows the functions that make and do them; knows no store and no process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers.utils import logging as transformers_logging

from app.collection_training import DistilCollection
from app.document_training import Distil, Draft, Join
from app.screening import Find
from app.settings import Settings
from inference.engine import Engine, LocalEngine, answering_threads
from inference.reader import Reader, load_reader
from retrieval.encoder import Encoder, MiniLmEncoder
from training.collection import distil_collection
from training.conflicts import conflicts
from training.draft import draft
from training.joining import join
from training.pipeline import distil


def _reader(settings: Settings) -> Reader:
    bars: Any = transformers_logging
    shown = bars.is_progress_bar_enabled()
    # The commands draw their own bars, and a server's log has no use for any.
    bars.disable_progress_bar()
    try:
        return load_reader(
            settings.reader,
            device=settings.device,
            dtype=settings.dtype,
            instructions=settings.instructions.replace("{not_stated}", settings.not_stated),
        )
    finally:
        if shown:
            bars.enable_progress_bar()


def _engine(settings: Settings, reader: Reader) -> Engine:
    if settings.vllm_url is not None:
        from app.vllm_engine import VllmEngine  # others need no HTTP client

        return VllmEngine(reader, settings.vllm_url, api_key=settings.vllm_api_key)
    return LocalEngine(
        reader,
        max_batch=settings.max_batch,
        kv_bytes=settings.kv_bytes,
        threads=answering_threads(reader, settings.threads),
    )


@dataclass(frozen=True)
class Parts:
    """The parts that take long or much memory, as functions that make or do them."""

    reader: Callable[[Settings], Reader] = _reader
    engine: Callable[[Settings, Reader], Engine] = _engine
    encoder: Callable[[], Encoder] = MiniLmEncoder
    distil: Distil = distil
    join: Join = join
    draft: Draft = draft
    conflicts: Find = conflicts
    distil_collection: DistilCollection = distil_collection
