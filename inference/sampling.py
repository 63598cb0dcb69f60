"""How the next token is chosen: greedy, or sampled with the request's own seed.

This file knows logits and token ids; it knows no prompt, no cache and no text.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NUCLEUS = 1_024  # tokens that are nearly always enough; sorting a large vocabulary takes its time


@dataclass(frozen=True, slots=True)
class Sampling:
    """Greedy at temperature 0, else sampled from the smallest set of tokens of share `top_p`.

    An answer ends before the first of the `stop` strings; `logprobs` says how many of the likeliest
    tokens are reported for each step; `ignore_end` goes on after the reader has ended, for measurements.
    With `sure_at`, an answer ends at the first token with which it is less probable than that, and its
    completion says how probable it was. Raises ValueError for numbers that mean nothing.
    """

    max_tokens: int = 96
    temperature: float = 0.0
    seed: int = 0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    logprobs: int = 0
    ignore_end: bool = False
    sure_at: float | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError("max_tokens must be at least 1.")
        if not 0 < self.top_p <= 1:
            raise ValueError("top_p must be above 0 and at most 1.")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must be from 0 to 2**63 - 1.")
        if self.temperature < 0 or self.logprobs < 0:
            raise ValueError("temperature and logprobs must not be negative.")
        if self.sure_at is not None and not 0 <= self.sure_at <= 1:
            raise ValueError("sure_at is a probability, from 0 to 1.")
        if not all(self.stop):
            raise ValueError("A stop string must not be empty.")


@dataclass(frozen=True, slots=True)
class Top:
    """The likeliest tokens of one step: `ids` int32 `[k]`, `logprobs` float32 `[k]`, best first."""

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]

    def probability(self, token: int) -> float:
        """That of a token; 0 where it is not among them."""
        return float(np.exp(self.logprobs[self.ids == token]).sum())


class Chooser:
    """Chooses the tokens of one request; equal seeds and logits give equal tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generator = torch.Generator(device="cpu").manual_seed(sampling.seed)

    def choose(self, logits: Tensor) -> int:
        """A token id for logits `[vocabulary]` on the CPU."""
        sampling = self._sampling
        if sampling.temperature <= 0:
            return int(logits.argmax())
        # Less the largest first: a tiny temperature would make infinity minus infinity of them. In double:
        # the tiniest would be 0 in float32, and 0 through 0 is no number.
        shares = torch.softmax((logits - logits.max()).double() / sampling.temperature, -1)
        if sampling.top_p == 1:  # as ever: with other draws a seed's studies would be others
            return int(torch.multinomial(shares, 1, generator=self._generator))
        ordered, ids = shares.topk(min(_NUCLEUS, len(shares)))
        if ordered.sum() < sampling.top_p:  # of a flat distribution the nucleus is larger
            ordered, ids = shares.sort(descending=True, stable=True)
        beyond = ordered.cumsum(0) - ordered >= sampling.top_p
        nucleus = ordered.masked_fill(beyond, 0)
        return int(ids[torch.multinomial(nucleus, 1, generator=self._generator)])


def likeliest(logits: Tensor, count: int) -> list[Top]:
    """The likeliest tokens of each row of logits `[rows, vocabulary]`."""
    found = torch.log_softmax(logits, -1).topk(min(count, logits.shape[-1]))
    ids = found.indices.to("cpu", torch.int32).numpy()
    logprobs = found.values.cpu().numpy()
    return [Top(ids[row], logprobs[row]) for row in range(len(ids))]


def together(before: float | None, probability: float) -> float:
    """The probability of one more token behind others; None is of no token yet."""
    return probability if before is None else before * probability
