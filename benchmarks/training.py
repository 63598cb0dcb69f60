"""What a training step costs: `cartridges bench train`, written to `docs/results/training.json`.

Ours beside PEFT's CARTRIDGE adapter trained as its self-study example trains it: the teacher reads
document and conversation anew in every step, and both models make logits at every position. Model,
conversations, batches, slots and steps are the same. Every run is a process of its own, in turns, so
that peak memory can be told apart. This file measures steps; it says nothing of what was learned.
"""

import importlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.workload import text_of
from evaluation.memory import forget_peak, peak_bytes
from evaluation.results import Claim, begin, write_result
from evaluation.statistics import estimate
from inference.reader import Reader, load_reader, stacked
from training.examples import StudyExample
from training.student import Lesson, answer_logits, answer_states, distillation_loss

Progress = Callable[[str, float], None]

OURS, PEFT = ARMS = ("ours", "PEFT CARTRIDGE")


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """One document, conversations about it, and how they are stepped through."""

    document_tokens: int = 1_024
    slots: int = 85  # a twelfth
    question_tokens: int = 20
    answer_tokens: int = 20
    conversations: int = 96
    batch: int = 24
    steps: int = 16  # four times through the conversations
    top_k: int = 20
    rounds: int = 3
    learning_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class Run:
    """What one process measured: all steps, the making of targets included, and its memory."""

    arm: str
    seconds: float
    peak_bytes: int  # resident, above what it was before the first step
    first_loss: float
    last_loss: float


def run_training(reader: str, out: Path, plan: TrainPlan, progress: Progress) -> dict[str, Any]:
    """Measure both in turns and write the result file. `reader` is a path or hub name."""
    began = begin()
    runs: list[Run] = []
    context = multiprocessing.get_context("spawn")
    for turn in range(plan.rounds):
        for name in ARMS[:: 1 if turn % 2 else -1]:
            progress(name, len(runs) / (len(ARMS) * plan.rounds))
            with context.Pool(1) as process:
                runs.append(process.apply(_measured, (name, reader, plan, turn)))
                process.close()  # to its own end, not killed: it has things to put away
                process.join()
    progress("done", 1.0)
    ours, theirs = ([run for run in runs if run.arm == name] for name in ARMS)
    return write_result(
        out,
        "training",
        command=f"cartridges bench train --rounds {plan.rounds} --json",
        seeds=list(range(plan.rounds)),
        rows=[_row(run, plan) for run in runs],
        claims={
            "speedup_vs_peft": Claim(
                estimate([t.seconds / o.seconds for o, t in zip(ours, theirs, strict=True)]), ">= 3"
            ),
            "peak_memory_ratio_vs_peft": Claim(
                estimate([o.peak_bytes / t.peak_bytes for o, t in zip(ours, theirs, strict=True)])
            ),
        },
        began=began,
    )


def _row(run: Run, plan: TrainPlan) -> dict[str, Any]:
    return {
        "arm": run.arm,
        "document_tokens": plan.document_tokens,
        "slots": plan.slots,
        "batch": plan.batch,
        "steps": plan.steps,
        "seconds": round(run.seconds, 2),
        "steps_per_s": round(plan.steps / run.seconds, 3),
        "peak_mib": round(run.peak_bytes / 2**20, 1),
        "first_loss": round(run.first_loss, 4),
        "last_loss": round(run.last_loss, 4),
    }


def _measured(name: str, path: str, plan: TrainPlan, seed: int) -> Run:
    """One arm in a process of its own."""
    reader = load_reader(path)
    document = text_of(reader, plan.document_tokens, seed)
    conversations = _conversations(reader, plan, seed)
    step = {OURS: _ours, PEFT: _peft}[name]
    importlib.import_module("peft")  # in either arm's process: it is no part of training
    before = forget_peak()
    began = time.perf_counter()
    losses = step(reader, document, conversations, plan)
    seconds = time.perf_counter() - began
    return Run(name, seconds, max(1, peak_bytes() - before), losses[0], losses[-1])


def _conversations(
    reader: Reader, plan: TrainPlan, seed: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Questions and answers as ids. What they say does not matter to what they cost."""
    texts = [
        text_of(reader, plan.question_tokens, 1_000 * (seed + 1) + n)
        for n in range(plan.conversations)
    ]
    generator = torch.Generator().manual_seed(seed)
    answers = torch.randint(
        300, len(reader.tokenizer), (plan.conversations, plan.answer_tokens), generator=generator
    )
    return [
        (tuple(reader.chat.question(text)), tuple(row.tolist()))
        for text, row in zip(texts, answers, strict=True)
    ]


def _batches(plan: TrainPlan) -> list[range]:
    count = plan.conversations // plan.batch
    starts = [plan.batch * (step % count) for step in range(plan.steps)]
    return [range(start, start + plan.batch) for start in starts]


def _ours(
    reader: Reader,
    document: str,
    conversations: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    plan: TrainPlan,
) -> list[float]:
    """The teacher's targets once, behind the document's KV made once; then steps over the slots."""
    document_kv = reader.prefill_documents([document])
    keys, values = stacked(document_kv)
    examples = []
    empty = torch.zeros((plan.answer_tokens, plan.top_k))
    for start in range(0, plan.conversations, plan.batch):
        blank = [
            StudyExample("question", prompt, answer, empty.int().numpy(), empty.numpy())
            for prompt, answer in conversations[start : start + plan.batch]
        ]
        lesson = Lesson.of(blank, reader.device)
        with torch.no_grad():
            logits = answer_logits(reader, keys, values, lesson, 1 + keys.shape[2])
            top = torch.log_softmax(logits, -1).topk(plan.top_k)
        for place, example in enumerate(blank):
            rows = slice(place * plan.answer_tokens, (place + 1) * plan.answer_tokens)
            ids, logprobs = top.indices[rows].int().cpu(), top.values[rows].cpu()
            examples.append(
                StudyExample(
                    "question", example.prompt, example.answer, ids.numpy(), logprobs.numpy()
                )
            )
    keys, values = (
        t[:, :, : plan.slots].float().clone().requires_grad_(True) for t in (keys, values)
    )
    optimiser = torch.optim.Adam([keys, values], lr=plan.learning_rate)
    losses = []
    for rows_ in _batches(plan):
        lesson = Lesson.of([examples[row] for row in rows_], reader.device)
        hidden = answer_states(reader, keys, values, lesson, 1 + plan.slots)
        loss = distillation_loss(reader, hidden, lesson)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def _peft(
    reader: Reader,
    document: str,
    conversations: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    plan: TrainPlan,
) -> list[float]:
    """Teacher and student forward over everything in every step, as PEFT's self-study example has it."""
    from peft import CartridgeConfig, get_peft_model

    from benchmarks.peers import flattened
    from inference.composer import Composition

    context = [reader.chat.sink_id, *reader.chat.documents([document])]
    prefix = reader.prefill(context[: plan.slots + 1])
    config = CartridgeConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=plan.slots + 1, num_frozen_tokens=1
    )
    student: Any = get_peft_model(reader.model, config)
    student.prompt_encoder["default"].load_prompt_embeddings(
        flattened(Composition(prefix, plan.slots + 1)).float()
    )
    trained = [p for p in student.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=plan.learning_rate)
    losses = []
    for rows in _batches(plan):
        talks = [[*conversations[row][0], *conversations[row][1][:-1]] for row in rows]
        ids, mask = _padded(talks)
        whole_ids, whole_mask = _padded([[*context, *talk] for talk in talks])
        with torch.no_grad():
            teacher = reader.model(
                input_ids=whole_ids, attention_mask=whole_mask, use_cache=False
            ).logits
        said = student(input_ids=ids, attention_mask=mask, use_cache=False).logits
        parts = []
        for row, talk in enumerate(talks):
            thought = teacher[row, len(context) : len(context) + len(talk)].float()
            top = thought.topk(plan.top_k)
            wanted = torch.log_softmax(thought, -1).gather(-1, top.indices)
            got = torch.log_softmax(said[row, : len(talk)].float(), -1).gather(-1, top.indices)
            parts.append(-(wanted.exp() * got).sum(-1).mean())
        loss = torch.stack(parts).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(list(row))
        mask[place, : len(row)] = 1
    return ids, mask
