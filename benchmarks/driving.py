"""Driving an engine or a peer with a wave of requests, and what the wave says.

This file knows clocks and completions; it knows no arm.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import numpy as np

from evaluation.statistics import estimate
from inference.engine import LocalEngine
from inference.requests import Completion, Request


@dataclass(frozen=True, slots=True)
class Wave:
    """Requests that were all there at once: when each one's tokens came, in seconds from its start."""

    seconds: float
    tokens: tuple[tuple[float, ...], ...]
    kv_bytes: int  # that one request holds, promised pages included

    @property
    def throughput(self) -> float:
        """Tokens a second from the first request's arrival to the last token."""
        return sum(map(len, self.tokens)) / self.seconds

    @property
    def steady_throughput(self) -> float | None:
        """Tokens a second while every request was decoding; None where they never all did."""
        began = max(times[0] for times in self.tokens)
        ended = min(times[-1] for times in self.tokens)
        said = sum(began < at <= ended for times in self.tokens for at in times)
        return said / (ended - began) if ended > began else None

    @property
    def gaps(self) -> list[float]:
        """Milliseconds between the tokens of each request."""
        return [float(gap) * 1e3 for times in self.tokens for gap in np.diff(times)]


def drive(engine: LocalEngine, requests: Sequence[Request]) -> tuple[Wave, list[Completion]]:
    """Ask everything at once and wait for all."""
    began = time.perf_counter()
    arrived = []
    streams = []
    for request in requests:
        arrived.append(time.perf_counter() - began)
        streams.append(engine.submit(request))
    completions = [stream.result() for stream in streams]
    seconds = time.perf_counter() - began
    tokens = tuple(
        tuple(at + ms / 1e3 for ms in done.token_ms)
        for at, done in zip(arrived, completions, strict=True)
    )
    return Wave(seconds, tokens, engine.held_bytes(requests[0])), completions


@dataclass(slots=True)
class Arm:
    """One way of serving, with its waves."""

    name: str
    shape: str
    concurrency: int
    prompt_tokens: int
    context_columns: int
    waves: list[Wave] = field(default_factory=list)

    @property
    def throughputs(self) -> list[float]:
        """Tokens a second of each wave."""
        return [wave.throughput for wave in self.waves]

    def row(self) -> dict[str, Any]:
        """Figures over the waves."""
        firsts = [times[0] * 1e3 for wave in self.waves for times in wave.tokens]
        gaps = [gap for wave in self.waves for gap in wave.gaps]
        found = estimate(self.throughputs)
        steady = [each for w in self.waves if (each := w.steady_throughput) is not None]
        return {
            "shape": self.shape,
            "arm": self.name,
            "concurrency": self.concurrency,
            "prompt_tokens": self.prompt_tokens,
            "context_columns": self.context_columns,
            "waves": len(self.waves),
            "tokens_per_s": round(found.mean, 1),
            "tokens_per_s_ci95": found.interval and [round(bound, 1) for bound in found.interval],
            "steady_tokens_per_s": round(mean(steady), 1) if steady else None,
            "first_token_ms_p50": round(median(firsts), 1),
            "first_token_ms_p99": round(float(np.percentile(firsts, 99)), 1),
            "inter_token_ms_p50": round(median(gaps), 2) if gaps else None,
            "inter_token_ms_p99": round(float(np.percentile(gaps, 99)), 2) if gaps else None,
            "kv_bytes_per_request": self.waves[-1].kv_bytes,
        }
