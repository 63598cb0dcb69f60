"""What serving costs: `cartridges bench serve`, written to `docs/results/serving.json`.

Every arm of a shape runs in one process, round by round in changing order, so that whatever else the
machine does falls on all alike; what computes has torch's threads to itself: an engine ends before a peer
begins, and the other way round. Two shapes: the bundled
reader, where overheads show, and random weights in the shape of Qwen3-0.6B, where keys and values fill the
memory and set how many requests run together, as in Cartridges (arXiv 2506.06266, section 5). This file
knows arms and claims.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks.driving import Arm, Wave, drive
from benchmarks.peers import Adapters, Mounted
from benchmarks.workload import (
    COMPRESSION,
    Shape,
    as_cartridge,
    asked,
    qwen3_shaped,
    random_cartridge,
    text_of,
)
from cartridge_store.cartridge import Cartridge
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import Estimate, estimate
from inference.batch import pool_of
from inference.composer import compose
from inference.engine import LocalEngine
from inference.paged_attention import Prefill, Seen
from inference.reader import Reader
from inference.requests import Request
from inference.sampling import Sampling
from inference.threads import computed_apart

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """How much is measured."""

    rounds: int = 5
    context_tokens: int = 2_048
    answer_tokens: int = 32
    concurrencies: tuple[int, ...] = (1, 4, 16, 64)
    contexts: tuple[int, ...] = (512, 1_024, 2_048, 4_096)
    compared_at: int = 16  # requests together, where the peers are compared
    compositions: int = 8
    rag_share: float = 3.5  # RAG's prompt tokens for each slot, as Cartridges at Scale has them
    large_layers: int = 28
    large_width: int = 1_024
    large_context: int = 16_384
    large_answer: int = 16
    large_kv_bytes: int = 3_800_000_000  # two contexts of 16k tokens, and next to nothing over
    large_page_slots: int = 53  # an eighth of the shape's 424 slots: nothing is lost to rounding
    large_rounds: int = 3
    joiners: int = 50
    threads: int = 2  # torch's, of whatever computes


def run_serving(reader: Reader, out: Path, plan: ServingPlan, progress: Progress) -> dict[str, Any]:
    """Measure everything and write the result file."""
    began = begin()
    progress("small shape", 0.0)
    arms = small_arms(reader, plan, lambda done: progress("small shape", 0.4 * done))
    progress("composing", 0.4)
    composing = composing_cost(reader, plan)
    progress("joining", 0.45)
    joining = joining_cost(reader, plan)
    progress("memory-bound shape", 0.5)
    large = large_arms(reader, plan, lambda done: progress("memory-bound shape", 0.5 + 0.5 * done))
    return write_result(
        out,
        "serving",
        command=f"cartridges bench serve --rounds {plan.rounds} --json",
        seeds=[0],
        rows=[*(arm.row() for arm in [*arms, *large]), composing, joining],
        claims=claims(arms, large, composing, plan),
        began=began,
    )


def claims(
    arms: Sequence[Arm], large: Sequence[Arm], composing: dict[str, Any], plan: ServingPlan
) -> dict[str, Claim]:
    """The ratios, each wave of ours against the same round's of theirs."""
    small = {(arm.name, arm.concurrency, arm.shape): arm for arm in arms}

    def against(name: str) -> Estimate:
        key = (plan.compared_at, f"{plan.context_tokens} tokens")
        return ratio(small["cartridge", *key].throughputs, small[name, *key].throughputs)

    ours, theirs = large
    steady = [[wave.steady_throughput for wave in arm.waves] for arm in (ours, theirs)]
    held = theirs.waves[-1].kv_bytes / ours.waves[-1].kv_bytes
    return {
        "kv_bytes_ratio_vs_icl": Claim(exact(held), f">= {COMPRESSION}"),
        "throughput_ratio_vs_cached_icl": Claim(ratio(*steady), ">= 26.4"),
        "throughput_ratio_vs_icl_with_prefill": Claim(against("text")),
        "throughput_ratio_vs_rag": Claim(against("passages")),
        "throughput_ratio_vs_peft": Claim(against("PEFT generate"), ">= 5"),
        "throughput_ratio_vs_generate": Claim(against("generate, stacked"), ">= 5"),
        "throughput_ratio_vs_generate_by_composition": Claim(against("generate")),
        "compose_ratio_vs_bytes_moved": Claim(exact(composing["ratio"]), "<= 1.2"),
        "compose_share_of_first_token": Claim(exact(composing["share"]), "<= 0.05"),
    }


def exact(value: float) -> Estimate:
    """A figure without an interval."""
    return Estimate(value, None, None)


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Estimate:
    """Ours over theirs, round by round; without rounds in which a side was not measured.

    Raises ValueError where that is all of them.
    """
    pairs = zip(ours, theirs, strict=True)
    found = [a / b for a, b in pairs if a is not None and b is not None]
    if not found:
        raise ValueError("In no round were all requests decoding together: raise answer_tokens.")
    return estimate(found)


def small_arms(reader: Reader, plan: ServingPlan, progress: Callable[[float], None]) -> list[Arm]:
    """All arms at one context length over concurrencies; our arms and cached text over lengths too."""
    shape = Shape(f"{plan.context_tokens} tokens", plan.context_tokens, plan.answer_tokens)
    ours: list[tuple[Arm, Sequence[Request]]] = []
    for concurrency in plan.concurrencies:
        ours += _engine_arms(reader, shape, concurrency, plan)
    for context in plan.contexts:
        if context != plan.context_tokens:
            other = Shape(f"{context} tokens", context, plan.answer_tokens)
            ours += _engine_arms(reader, other, plan.compared_at, plan)
    theirs = _peer_runs(reader, shape, plan)

    def engine_round(turn: int) -> None:
        with _engine(reader, max(plan.concurrencies), plan) as engine:
            for place in range(len(ours)):
                arm, requests = ours[(place + turn) % len(ours)]
                _brought(engine, requests)
                arm.waves.append(drive(engine, requests)[0])

    def peer_round(turn: int) -> None:
        for place in range(len(theirs)):
            arm, run = theirs[(place + turn) % len(theirs)]
            # Its team of torch threads ends with it.
            arm.waves.append(computed_apart(plan.threads, run))

    for turn in range(plan.rounds + 1):
        for run_round in (engine_round, peer_round) if turn % 2 else (peer_round, engine_round):
            run_round(turn)
        progress((turn + 1) / (plan.rounds + 1))
    arms = [arm for arm, _ in (*ours, *theirs)]
    for arm in arms:
        arm.waves.pop(0)  # the first round warms up
    return arms


def _brought(engine: LocalEngine, requests: Sequence[Request]) -> None:
    """The requests' cartridges, or cached text, are on the device before the clock starts."""
    compositions = {tuple(one.id for one in request.cartridges): request for request in requests}
    for ids, request in compositions.items():
        if ids:
            engine.submit(replace(request, sampling=Sampling(max_tokens=1))).result()


def _engine_arms(
    reader: Reader, shape: Shape, concurrency: int, plan: ServingPlan
) -> list[tuple[Arm, Sequence[Request]]]:
    """Cartridges, cached text, text and passages, each over as many documents as compositions; no more
    text than compared arms read: it is computed again for every request, at the same speed.
    """
    few = min(concurrency, plan.compositions)
    composed = compositions(reader, shape, few)
    texts = [text_of(reader, shape.context_tokens, n) for n in range(few)]
    passages = [text_of(reader, round(plan.rag_share * shape.slots), n) for n in range(few)]
    cached = [as_cartridge(reader, reader.prefill_documents([t]), n) for n, t in enumerate(texts)]
    asks = {
        "cartridge": [asked(shape, *chosen) for chosen in composed],
        "cached text": [asked(shape, one) for one in cached],
        "text": [asked(shape, text=text) for text in texts],
        "passages": [asked(shape, text=text) for text in passages],
    }
    if shape.context_tokens * concurrency > plan.context_tokens * plan.compared_at:
        del asks["text"]
    arms: list[tuple[Arm, Sequence[Request]]] = []
    for name, few_requests in asks.items():
        requests = [few_requests[i % few] for i in range(concurrency)]
        columns = sum(c.slots for c in requests[0].cartridges)
        prompt = len(reader.chat.documents(requests[0].texts)) if requests[0].texts else 0
        arm = Arm(name, shape.name, concurrency, prompt, columns or prompt)
        arms.append((arm, requests))
    return arms


def compositions(reader: Reader, shape: Shape, count: int) -> list[tuple[Cartridge, ...]]:
    """Different pairs, half of the slots each, out of fewer cartridges than there are pairs."""
    pool = [random_cartridge(reader, shape.slots // 2, seed) for seed in range(count + 1)]
    return [(pool[n], pool[n + 1]) for n in range(count)]


def _peer_runs(
    reader: Reader, shape: Shape, plan: ServingPlan
) -> list[tuple[Arm, Callable[[], Wave]]]:
    composed = [compose(reader, c) for c in compositions(reader, shape, plan.compositions)]
    each = plan.compared_at // plan.compositions
    mounted = Mounted(reader)
    adapters = Adapters(reader, {f"c{n}": prefix for n, prefix in enumerate(composed)})
    columns = composed[0].length
    arms = [
        Arm(name, shape.name, plan.compared_at, 0, columns)
        for name in ("generate", "generate, stacked", "PEFT generate")
    ]
    groups = [(prefix, each) for prefix in composed]
    adapted = [(f"c{n}", prefix, each) for n, prefix in enumerate(composed)]
    runs = (
        lambda: mounted.wave(groups, shape),
        lambda: mounted.stacked_wave(groups, shape),
        lambda: adapters.wave(adapted, shape),
    )
    return list(zip(arms, runs, strict=True))


@contextmanager
def _engine(
    reader: Reader,
    concurrency: int,
    plan: ServingPlan,
    kv_bytes: int = 1 << 30,
    page_slots: int = 64,
) -> Iterator[LocalEngine]:
    with closing(
        LocalEngine(
            reader,
            max_batch=concurrency,
            kv_bytes=kv_bytes,
            page_slots=page_slots,
            threads=plan.threads,
        )
    ) as engine:
        yield engine


def large_arms(reader: Reader, plan: ServingPlan, progress: Callable[[float], None]) -> list[Arm]:
    """Cartridges and cached text under one budget of keys and values, as many as fit of each.

    Both are resident before the clock starts. Arms take turns; each has the machine to itself.
    """
    large = qwen3_shaped(reader.tokenizer, layers=plan.large_layers, width=plan.large_width)
    shape = Shape(f"{plan.large_context} tokens", plan.large_context, plan.large_answer)
    arms = []
    for name, columns in (("cartridge", shape.slots), ("cached text", shape.context_tokens)):
        with _engine(large, 1_024, plan, plan.large_kv_bytes, plan.large_page_slots) as engine:
            one = asked(shape, random_cartridge(large, columns, 0))
            fitting = engine.load().capacity_bytes // engine.held_bytes(one)
            arms.append(Arm(name, shape.name, fitting, 0, columns))
    for turn in range(plan.large_rounds):
        for place, arm in enumerate(arms if turn % 2 else arms[::-1]):
            with _engine(large, 1_024, plan, plan.large_kv_bytes, plan.large_page_slots) as engine:
                mounted = [
                    random_cartridge(large, arm.context_columns, n) for n in range(arm.concurrency)
                ]
                for cartridge in mounted:
                    engine.submit(asked(Shape("", arm.context_columns, 1), cartridge)).result()
                requests = [asked(shape, cartridge) for cartridge in mounted]
                arm.waves.append(drive(engine, requests)[0])
            progress((turn + (place + 1) / 2) / plan.large_rounds)
    return arms


def composing_cost(reader: Reader, plan: ServingPlan) -> dict[str, Any]:
    """Ten resident cartridges brought before a question, against copying their bytes once.

    Composing is what the pool does to have them in front, and the copy of their pages that reading the
    question gathers. The share is of the time to first token of a request alone, waiting included.
    """
    shape = Shape("composing", plan.context_tokens, 4)
    ten = [random_cartridge(reader, shape.slots, seed) for seed in range(10)]
    source = torch.cat([torch.cat([c.keys, c.values]).flatten() for c in ten])
    target = torch.empty_like(source)
    composed, shares, copied = [], [], []
    with _engine(reader, 4, plan) as engine:
        for turn in range(10 * plan.rounds):
            done = engine.submit(asked(shape, *ten)).result()
            # Others come between: the ten are resident, but nobody holds them any more.
            engine.submit(asked(shape, random_cartridge(reader, shape.slots, 99))).result()
            began = time.perf_counter()
            target.copy_(source)
            if turn >= plan.rounds:  # the first ones bring them to the device
                copied.append((time.perf_counter() - began) * 1e3)
                composed.append(done.compose_ms + gathering_ms(reader, ten))
                shares.append(composed[-1] / done.first_token_ms)
    return {
        "shape": "composing 10 resident cartridges",
        "compose_ms": round(median(composed), 4),
        "copy_ms": round(median(copied), 4),
        "bytes": source.nbytes,
        "ratio": median(composed) / median(copied),
        "share": median(shares),
    }


def gathering_ms(reader: Reader, cartridges: Sequence[Cartridge]) -> float:
    """Milliseconds of gathering the cartridges' pages, all layers, as reading a question does."""
    pool = pool_of(reader, 1 << 26)
    spans = []
    for cartridge in cartridges:
        span, _ = pool.pin(cartridge.id, cartridge.slots)
        pool.write(span, cartridge.keys, cartridge.values)
        pool.loaded(span)
        spans.append(span)
    own = pool.private(1)
    pool.extend(own, 1)
    plan = Prefill(pool, [Seen(spans, own)], [1])
    began = time.perf_counter()
    for layer in range(pool.shape.layers):
        plan.gathered(pool.keys[layer])
        plan.gathered(pool.values[layer])
    return (time.perf_counter() - began) * 1e3


def joining_cost(reader: Reader, plan: ServingPlan) -> dict[str, Any]:
    """Milliseconds between the others' tokens with the last distinct cartridge, and without it."""
    shape = Shape("joining", plan.context_tokens, plan.answer_tokens)
    requests = [
        asked(shape, random_cartridge(reader, shape.slots, seed)) for seed in range(plan.joiners)
    ]
    gaps: dict[int, list[float]] = {plan.joiners - 1: [], plan.joiners: []}
    with _engine(reader, plan.joiners, plan) as engine:
        for turn in range(2 * plan.rounds + 2):
            count = plan.joiners - turn % 2
            wave, _ = drive(engine, requests[:count])
            if turn >= 2:
                gaps[count].append(median(wave.gaps))
    without, with_it = (mean(gaps[count]) for count in sorted(gaps))
    return {
        "shape": f"the {plan.joiners}th distinct cartridge",
        "inter_token_ms_without": round(without, 3),
        "inter_token_ms_with": round(with_it, 3),
        "slowdown": with_it / without,
    }
