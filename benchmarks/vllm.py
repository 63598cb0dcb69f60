"""Stock vLLM with cartridges, beside the same server with RAG text and with full documents.

`cartridges bench vllm` starts one server and sends it waves of requests, arm after arm in turn, prefix
caching on and warm for all; first it compares answers with the local engine's, and looks for answers that
change with what runs beside them. This file knows requests and HTTP; it knows nothing of the connector.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import torch

from benchmarks.vllm_driving import Asked, ask, peak_blocks
from benchmarks.vllm_process import serving_vllm
from cartridge_store.blobs import LocalBlobs
from cartridge_store.cartridge import Cartridge
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name
from cartridge_store.manifest import PositionRule
from evaluation.held_out import HeldOut, held_out
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import Estimate, estimate
from inference.composer import compose
from inference.decoding import Prompt, decode
from inference.reader import Reader
from inference.sampling import Sampling

Progress = Callable[[str, float], None]
_OFFSET = 1024
_TIMEOUT = httpx.Timeout(600.0)


@dataclass(frozen=True, slots=True)
class VllmPlan:
    """`documents` of a composition have `slots` each as cartridges; RAG text has four times the tokens."""

    documents: int = 16
    slots: int = 24
    compositions: int = 8
    requests: int = 32  # of a wave, all at once
    answer_tokens: int = 32
    rounds: int = 5
    compared: int = 24
    mixed: int = 64
    mixed_compositions: int = 16
    seed: int = 0


@dataclass(slots=True)
class Arm:
    """One way of answering, with what its waves cost."""

    name: str
    context_tokens: int
    asked: list[Asked]
    throughputs: list[float] = field(default_factory=list)
    first_token_ms: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)

    def row(self, plan: VllmPlan) -> dict[str, Any]:
        """For the result file."""
        return {
            "arm": self.name,
            "context_tokens": self.context_tokens,
            "requests": len(self.asked),
            "compositions": plan.compositions,
            "answer_tokens": plan.answer_tokens,
            "tokens_per_second": [round(value, 1) for value in self.throughputs],
            "median_first_token_ms": round(median(self.first_token_ms), 1),
            "peak_kv_blocks": [round(value) for value in self.blocks],
        }


def run_vllm(
    reader: Reader, out: Path, plan: VllmPlan, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Measure everything and write the result file; `reader` is the bundled one in float32."""
    began = begin()
    drawn = held_out(plan.seed, sheets=plan.documents, questions=4, count=reader.count)
    kept = [_cartridge(reader, sheet.text) for sheet in drawn.sheets]
    short = [_cartridge(reader, sheet.text, plan.slots) for sheet in drawn.sheets]
    progress("starting vLLM", 0.0)
    with tempfile.TemporaryDirectory(prefix="cartridges-vllm-") as name:
        folder = Path(name)
        blobs = LocalBlobs(folder / "cartridges")
        for one in [*kept, *short]:
            blobs.put(blob_name(one.id), to_bytes(one))
        arguments = ["--block-size", "32", "--max-model-len", str(reader.max_positions)]
        with serving_vllm(
            Path(reader.name), folder / "cartridges", folder, arguments=arguments
        ) as url:
            rows, claims = asyncio.run(_measured(url, reader, drawn, kept, short, plan, progress))
    progress("done", 1.0)
    return write_result(
        out,
        "vllm",
        command=f"cartridges bench vllm --rounds {plan.rounds} --json",
        seeds=[plan.seed],
        rows=rows,
        claims=claims,
        began=began,
    )


async def _measured(
    url: str,
    reader: Reader,
    drawn: HeldOut,
    kept: Sequence[Cartridge],
    short: Sequence[Cartridge],
    plan: VllmPlan,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, Claim]]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=limits) as http:
        progress("equal answers", 0.1)
        equal = await _equal(http, reader, drawn, kept, plan)
        progress("mixed compositions", 0.25)
        contaminated = await _contaminated(http, reader, drawn, kept, plan)
        ours, rag, full = arms = _arms(reader, drawn, short, plan)
        for arm in arms:
            await _wave(http, arm, plan, keep=False)  # everybody's prefixes are cached from here on
        for turn in range(plan.rounds):
            for arm in arms:
                progress(f"{arm.name}, round {turn + 1}", 0.4 + 0.6 * turn / plan.rounds)
                await _wave(http, arm, plan, keep=True)
    claims = {
        "outputs_equal_fraction": Claim(estimate([sum(equal) / len(equal)]), ">= 1"),
        "contaminated_answers": Claim(estimate([contaminated]), "<= 0"),
        "throughput_ratio_vs_cached_rag": Claim(_ratio(ours.throughputs, rag.throughputs), ">= 1"),
        "throughput_ratio_vs_cached_full_document": Claim(
            _ratio(ours.throughputs, full.throughputs), ">= 1"
        ),
        "kv_blocks_ratio_vs_rag": Claim(_ratio(rag.blocks, ours.blocks), ">= 2"),
    }
    compared = {"compared": len(equal), "equal": sum(equal)}
    mixed = {"mixed": plan.mixed, "compositions": plan.mixed_compositions}
    rows = [arm.row(plan) for arm in arms]
    return [*rows, compared, mixed | {"contaminated": contaminated}], claims


async def _equal(
    http: httpx.AsyncClient,
    reader: Reader,
    drawn: HeldOut,
    kept: Sequence[Cartridge],
    plan: VllmPlan,
) -> list[bool]:
    """Greedy answers to questions about one, two and eight cartridges, beside the local reader's."""
    rng = random.Random(plan.seed)
    found = []
    for number in range(plan.compared):
        chosen = rng.sample(range(len(kept)), (1, 2, 8)[number % 3])
        ids = reader.chat.question(_question(drawn, chosen[0]))
        expected = _local(reader, kept, chosen, ids, 24)
        asked = Asked(ids, tuple(kept[n].id for n in chosen))
        found.append(await _said(http, reader, asked, 24) == expected)
    return found


async def _contaminated(
    http: httpx.AsyncClient,
    reader: Reader,
    drawn: HeldOut,
    kept: Sequence[Cartridge],
    plan: VllmPlan,
) -> int:
    """How many answers differ from the local reader's, when all run at once and shuffled.

    The same server's answers one by one would not do: a prefix cache that was written wrongly once
    answers wrongly again. Raises RuntimeError when the answers could not tell compositions apart.
    """
    rng = random.Random(plan.seed + 1)
    sets: list[list[int]] = []
    while len(sets) < plan.mixed_compositions:
        chosen = sorted(rng.sample(range(len(kept)), rng.choice((1, 2, 3))))
        if chosen not in sets:
            sets.append(chosen)
    requests = [
        (sets[number % len(sets)], reader.chat.question(_question(drawn, rng.randrange(len(kept)))))
        for number in range(plan.mixed)
    ]
    rng.shuffle(requests)
    expected = [_local(reader, kept, chosen, ids, 16) for chosen, ids in requests]
    if not _told_apart([tuple(ids) for _, ids in requests], expected):
        raise RuntimeError(
            "No question is answered differently by two compositions, so no leak could be seen; "
            "choose another seed."
        )
    together = await asyncio.gather(
        *(
            _said(http, reader, Asked(ids, tuple(kept[n].id for n in chosen)), 16)
            for chosen, ids in requests
        )
    )
    return sum(one != other for one, other in zip(together, expected, strict=True))


def _local(
    reader: Reader, kept: Sequence[Cartridge], chosen: Sequence[int], ids: list[int], tokens: int
) -> list[int]:
    """The greedy answer of the local reader."""
    behind = compose(reader, [kept[n] for n in chosen])
    (answer,) = decode(reader, [Prompt(behind, ids, Sampling(max_tokens=tokens))])
    return answer


async def _said(http: httpx.AsyncClient, reader: Reader, asked: Asked, tokens: int) -> list[int]:
    """The server's, without its end."""
    answer = await ask(http, asked, tokens, whole=False)
    return [id for id in answer.ids if id != reader.end_id]


def _told_apart(questions: Sequence[tuple[int, ...]], answers: Sequence[list[int]]) -> bool:
    """Whether one question at least has more than one answer."""
    different = set(zip(questions, map(tuple, answers), strict=True))
    return len(different) > len(set(questions))


def _arms(
    reader: Reader, drawn: HeldOut, short: Sequence[Cartridge], plan: VllmPlan
) -> tuple[Arm, Arm, Arm]:
    """The same questions over the same documents: cartridges, best passages, everything.

    The compositions of an arm differ in the documents' order and one of them, so that none shares
    another's prefix.
    """
    rng = random.Random(plan.seed + 2)
    chat = reader.chat
    texts = [sheet.text for sheet in drawn.sheets]
    passage = 4 * plan.slots  # tokens of each document that RAG reads
    ours, rag, full = [], [], []
    for number in range(plan.requests):
        left_out = number % plan.compositions % len(texts)
        order = [place for place in range(len(texts)) if place != left_out]
        random.Random(number % plan.compositions).shuffle(order)
        ids = chat.question(_question(drawn, rng.choice(order)))
        ours.append(Asked(ids, tuple(sorted(short[n].id for n in order))))
        cut = [reader.cut(texts[n], passage) for n in order]
        rag.append(Asked([chat.sink_id, *chat.documents(cut), *ids]))
        full.append(Asked([chat.sink_id, *chat.documents([texts[n] for n in order]), *ids]))
    slots = plan.slots * (len(texts) - 1)
    return (
        Arm("cartridges", slots, ours),
        Arm("RAG text", round(sum(len(one.ids) for one in rag) / len(rag)), rag),
        Arm("full documents", round(sum(len(one.ids) for one in full) / len(full)), full),
    )


async def _wave(http: httpx.AsyncClient, arm: Arm, plan: VllmPlan, *, keep: bool) -> None:
    """All requests of an arm at once; `keep` what it cost."""
    blocks = asyncio.create_task(peak_blocks(http))
    began = time.perf_counter()
    answers = await asyncio.gather(
        *(ask(http, one, plan.answer_tokens, whole=True) for one in arm.asked)
    )
    seconds = time.perf_counter() - began
    blocks.cancel()
    peak = await blocks
    if keep:
        arm.throughputs.append(sum(len(answer.ids) for answer in answers) / seconds)
        arm.first_token_ms += [answer.first_token_ms for answer in answers]
        arm.blocks.append(peak)


def _question(drawn: HeldOut, document: int) -> str:
    return next(item.question for item in drawn.items if item.document == document)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Round by round."""
    return estimate([one / other for one, other in zip(ours, theirs, strict=True)])


def _cartridge(reader: Reader, text: str, slots: int | None = None) -> Cartridge:
    """The document's own keys and values, the first `slots` of them: what serving costs is the same."""
    layers = reader.prefill_documents([text])
    keys, values = (torch.cat([pair[n] for pair in layers])[:, :, :slots] for n in (0, 1))
    return Cartridge.create(
        keys,
        values,
        collection="bench",
        document_id="sheet",
        document_sha256="0" * 64,
        document_tokens=reader.count(text),
        reader_fingerprint=reader.fingerprint,
        tokenizer_fingerprint=reader.tokenizer_fingerprint,
        position_rule=PositionRule("fixed", _OFFSET),
        initialiser="document",
        recipe={},
        figures={},
    )
