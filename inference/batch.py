"""The running batch: requests join and leave between tokens, prompts are read in chunks.

Every step reads a chunk of the prompts that are not read yet and decodes one token of every other
row, as Sarathi-Serve does (arXiv 2403.02310) but in two forwards. This file knows token ids, spans
and the reader; it knows no cartridge, no text and no thread.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.paged_attention import Decode, Plan, Prefill, Seen
from inference.pages import PagePool, PageShape, Span
from inference.reader import Reader, stacked
from inference.requests import GenerationFailed
from inference.sampling import Chooser, Sampling, Top, likeliest

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Row:
    """One request: its prompt begins at `position`, behind its shared spans and its own sink."""

    ids: Sequence[int]
    position: int
    shared: Sequence[Span]
    own: Span
    sampling: Sampling
    chooser: Chooser = field(init=False)
    read: int = 0  # prompt tokens that have been computed
    said: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chooser = Chooser(self.sampling)

    @property
    def seen(self) -> Seen:
        """What the row looks at."""
        return Seen(self.shared, self.own)


@dataclass(frozen=True, slots=True)
class Said:
    """A row's next token, with the likeliest ones where they were asked for; or what went wrong.

    `probability` is the token's own, before temperature, where the row's `sure_at` asks for it.
    """

    row: Row
    token: int
    top: Top | None = None
    probability: float | None = None
    error: Exception | None = None


def pool_of(reader: Reader, budget_bytes: int, *, page_slots: int = 64) -> PagePool:
    """A page pool in the shape of a reader's keys and values. Raises PoolTooSmall."""
    keys, _ = reader.sink[0]
    shape = PageShape(
        len(reader.sink), keys.shape[1], keys.shape[3], keys.dtype, keys.device, page_slots
    )
    return PagePool(shape, budget_bytes)


def columns_of(ids: Sequence[int], sampling: Sampling) -> int:
    """Columns that a request may come to hold for itself: the sink, its prompt and its answer."""
    return 1 + len(ids) + sampling.max_tokens


class Batch:
    """Rows being answered together, each as it would be alone."""

    def __init__(
        self,
        reader: Reader,
        pool: PagePool,
        *,
        chunk_tokens: int = 512,
        chunk_columns: int = 1 << 15,
    ) -> None:
        """A chunk of prompts has so many tokens, and its rows gather so many columns, each at most.

        One row may gather more: its own prompt's.
        """
        self._chunk_columns = chunk_columns
        self._reader = reader
        self._pool = pool
        # Keys and values of the model's sink, the first column of every row: the same for all.
        self._sink = stacked(reader.sink)
        self._chunk_tokens = chunk_tokens
        self._plan: Decode | None = None
        self._planned: list[Row] = []
        self._chunks = 0  # that were read
        self.rows: list[Row] = []

    def join(self, row: Row) -> None:
        """Take a row in. Its own span is empty and holds a promise of `columns_of` its prompt."""
        self._pool.extend(row.own, 1)
        self._pool.write(row.own, *self._sink)
        self.rows.append(row)

    def leave(self, row: Row) -> None:
        """Let a row go, with its own pages; its shared spans are the caller's."""
        self.rows = [other for other in self.rows if other is not row]
        self._pool.forget(row.own)

    @torch.no_grad()
    def step(self) -> list[Said]:
        """The next token of every row whose prompt has been read."""
        decoding = [row for row in self.rows if row.read == len(row.ids)]
        reading = [row for row in self.rows if row.read < len(row.ids)]
        said: list[Said] = []
        if decoding:
            said += self._decode(decoding)
        if reading:
            rows, longest = self._chunk(reading)
            try:
                said += self._prefill(rows, longest)
            except Exception as error:  # such as a lack of memory: those who decode go on
                logger.exception("A chunk of %d prompts could not be read.", len(rows))
                said += [Said(row, self._reader.end_id, error=error) for row in rows]
        return said

    def _chunk(self, reading: Sequence[Row]) -> tuple[list[Row], int]:
        """Which prompts are read on in this step, and how many tokens of the longest.

        Those that are read soonest come first, as who asks little should not wait for a book; in every
        second step the oldest does, so that it is not passed by for ever.
        """
        self._chunks += 1
        soonest = sorted(reading, key=lambda row: len(row.ids) - row.read)
        reading = [*reading[: self._chunks % 2], *soonest]
        rows: list[Row] = []
        longest = deepest = 0
        for row in dict.fromkeys(reading):
            size = max(longest, min(len(row.ids) - row.read, self._chunk_tokens))
            depth = max(deepest, sum(s.columns for s in row.shared) + row.own.columns + size)
            count = len(rows) + 1
            if rows and (count * size > self._chunk_tokens or count * depth > self._chunk_columns):
                break
            rows.append(row)
            longest, deepest = size, depth
        return rows, longest

    def _prefill(self, rows: Sequence[Row], longest: int) -> list[Said]:
        sizes = [min(len(row.ids) - row.read, longest) for row in rows]
        ids = torch.full((len(rows), longest), self._reader.end_id)
        positions = torch.zeros((len(rows), longest), dtype=torch.long)
        for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            ids[place, :size] = torch.tensor(list(row.ids[row.read : row.read + size]))
            start = row.position + row.read
            positions[place] = torch.arange(start, start + longest).clamp(max=start + size - 1)
            self._pool.extend(row.own, size)
        hidden = self._forward(ids, positions, Prefill(self._pool, [r.seen for r in rows], sizes))
        whole: list[int] = []
        for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            row.read += size
            if row.read == len(row.ids):
                whole.append(place)
        if not whole:
            return []
        last = hidden[whole, [sizes[place] - 1 for place in whole]]
        return self._choose([rows[place] for place in whole], last)

    def _decode(self, rows: list[Row]) -> list[Said]:
        for row in rows:
            self._pool.extend(row.own, 1)
        plan = self._plan
        if plan is None or rows != self._planned or not plan.advance():
            plan = Decode(self._pool, [row.seen for row in rows])
            self._plan, self._planned = plan, rows
        ids = torch.tensor([[row.said[-1]] for row in rows])
        positions = [[row.position + len(row.ids) + len(row.said) - 1] for row in rows]
        hidden = self._forward(ids, torch.tensor(positions), plan)
        return self._choose(rows, hidden[:, -1])

    def _forward(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        device = self._reader.device
        return self._reader.planned_forward(ids.to(device), positions.to(device), plan)

    def _choose(self, rows: Sequence[Row], hidden: Tensor) -> list[Said]:
        logits = self._reader.logits(hidden).cpu()
        best, likely = logits.max(-1)  # which is not finite where any of them is none, or infinite
        greedy, finite = likely.tolist(), best.isfinite().tolist()
        sure = any(row.sampling.sure_at is not None for row in rows)
        of_all = logits.logsumexp(-1) if sure else best
        said = []
        for place, row in enumerate(rows):
            if not finite[place]:  # its own fault alone: others go on
                broken = (
                    "The reader's logits are not finite behind these cartridges; train them again."
                )
                said.append(Said(row, self._reader.end_id, error=GenerationFailed(broken)))
                continue
            sampled = row.sampling.temperature > 0
            token = row.chooser.choose(logits[place]) if sampled else greedy[place]
            top = None
            if row.sampling.logprobs:
                top = likeliest(logits[place : place + 1], row.sampling.logprobs)[0]
            probability = None
            if row.sampling.sure_at is not None:
                probability = float((logits[place, token] - of_all[place]).exp())
            row.said.append(token)
            said.append(Said(row, token, top, probability))
        return said
