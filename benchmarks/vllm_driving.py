"""Requests to a vLLM server with their tokens and times, and what its counters say meanwhile.

This file knows HTTP and vLLM's JSON; it knows no cartridge but by its id, and no arm.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.vllm_process import MODEL


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: token ids that stand behind cartridges, or the whole prompt without any."""

    ids: list[int]
    cartridges: tuple[str, ...] = ()

    def body(self, tokens: int, *, whole: bool) -> dict[str, Any]:
        """JSON for the completions route; `whole` answers have all their tokens."""
        body: dict[str, Any] = {
            "model": MODEL,
            "prompt": self.ids,
            "max_tokens": tokens,
            "temperature": 0.0,
            "ignore_eos": whole,
            "return_token_ids": True,
            "stream": True,
        }
        return body | ({"cartridges": list(self.cartridges)} if self.cartridges else {})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and when its first token did."""

    ids: tuple[int, ...]
    first_token_ms: float


async def ask(http: httpx.AsyncClient, asked: Asked, tokens: int, *, whole: bool) -> Answer:
    """The answer to one request. Raises RuntimeError when the server refuses it."""
    began = time.perf_counter()
    first = 0.0
    ids: list[int] = []
    body = asked.body(tokens, whole=whole)
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"vLLM refused a request: {(await answer.aread())[:300]!r}")
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                ids += event["choices"][0].get("token_ids") or ()
                first = first or (time.perf_counter() - began) * 1e3
    return Answer(tuple(ids), first)


async def peak_blocks(http: httpx.AsyncClient) -> float:
    """The most blocks that were in use until this is cancelled."""
    peak = 0.0
    try:
        while True:
            text = (await http.get("/metrics")).text
            share, blocks = _read(text, "vllm:kv_cache_usage_perc"), _blocks(text)
            peak = max(peak, share * blocks)
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return peak


def _read(text: str, name: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))


def _blocks(text: str) -> int:
    """Blocks that the server has."""
    info = next(line for line in text.splitlines() if line.startswith("vllm:cache_config_info{"))
    return int(info.split('num_gpu_blocks="')[1].split('"')[0])
