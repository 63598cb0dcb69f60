"""One real vLLM server for all tests that need it, and cartridges of whole documents for it to mount."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from benchmarks.vllm_process import MODEL, VllmMissing, serving_vllm, vllm_python
from cartridge_store.blobs import LocalBlobs
from cartridge_store.cartridge import Cartridge
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name
from cartridge_store.manifest import PositionRule
from evaluation.held_out import HeldOut, held_out
from inference.reader import Reader
from reader.paths import bundled_reader

OFFSET = 1024
LENGTH = 6144
ARGUMENTS = (
    "--enforce-eager",
    "--block-size=32",
    f"--max-model-len={LENGTH}",
    "--max-num-batched-tokens=1024",  # long prompts are read in chunks
    "--max-num-seqs=64",
)


@dataclass(frozen=True)
class VllmServer:
    """A running server, the reader that it serves (both in float32), and its cartridges."""

    url: str
    reader: Reader
    blobs: LocalBlobs
    http: httpx.Client

    def keep(self, cartridge: Cartridge) -> Cartridge:
        """Store a cartridge where the server finds it."""
        self.blobs.put(blob_name(cartridge.id), to_bytes(cartridge))
        return cartridge

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Ask the server, greedily."""
        asked = {"model": MODEL, "temperature": 0.0, "max_tokens": 12} | body
        return self.http.post(path, json=asked)

    def complete(self, prompt: str | list[int], **body: Any) -> dict[str, Any]:
        """The one choice of a completion."""
        answer = self.post("/v1/completions", prompt=prompt, **body)
        assert answer.status_code == 200, answer.text
        choice: dict[str, Any] = answer.json()["choices"][0]
        return choice

    def counted(self, name: str) -> float:
        """One of the server's counters, over all engines."""
        lines = self.http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))


@contextmanager
def vllm_server(reader: Reader, folder: Path) -> Iterator[VllmServer]:
    """Start it, or skip the test that asks for it."""
    try:
        vllm_python()
    except VllmMissing as error:
        pytest.skip(str(error))
    blobs = LocalBlobs(folder / "cartridges")
    # Threads of two processes that wait for each other on the same cores take ten times as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one_thread = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    try:
        with (
            serving_vllm(
                bundled_reader(),
                folder / "cartridges",
                folder,
                arguments=ARGUMENTS,
                environment=one_thread,
            ) as url,
            httpx.Client(base_url=url, timeout=180, limits=httpx.Limits()) as http,
        ):
            yield VllmServer(url, reader, blobs, http)
    finally:
        torch.set_num_threads(threads)


def sheets(reader: Reader, count: int, seed: int = 3) -> HeldOut:
    """Documents of different lengths, with questions about them."""
    return held_out(seed, sheets=count, questions=4, count=reader.count)


def document_cartridge(
    reader: Reader,
    text: str,
    *,
    slots: int | None = None,
    offset: int | None = OFFSET,
    fingerprint: str = "",
    collection: str = "sheets",
    document_id: str = "",
) -> Cartridge:
    """The document's own keys and values, or the first `slots` of them, as a cartridge."""
    layers = reader.prefill_documents([text])
    keys, values = (torch.cat([pair[n] for pair in layers])[:, :, :slots] for n in (0, 1))
    return Cartridge.create(
        keys,
        values,
        collection=collection,
        document_id=document_id or f"sheet-{zlib.crc32(text.encode()):08x}",
        document_sha256="0" * 64,
        document_tokens=reader.count(text),
        reader_fingerprint=fingerprint or reader.fingerprint,
        tokenizer_fingerprint=reader.tokenizer_fingerprint,
        position_rule=PositionRule("visible") if offset is None else PositionRule("fixed", offset),
        initialiser="document",
        recipe={},
        figures={},
    )


def first_of_each(drawn: HeldOut, documents: Sequence[int]) -> list[str]:
    """One question about each of these documents."""
    return [next(i.question for i in drawn.items if i.document == n) for n in documents]
