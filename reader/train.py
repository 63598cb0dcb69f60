"""Train the bundled reader from nothing: `python -m reader.train --out FOLDER`.

Resumable: the checkpoint is one safetensors file of weights, optimiser state, configuration and
place; run the same command again and it goes on. This file knows how to learn, not what (`curriculum.py`,
`batches.py`) nor how it is said (`tasks.py`).
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from cartridge_store.errors import FolderBusy
from cartridge_store.folder_lock import FolderLock
from inference.allocation import keep_freed_memory
from inference.reader import multiplies_bfloat16
from reader import attention
from reader.batches import IGNORED, Batch, draw_batch
from reader.curriculum import CURRICULUM, Stage
from reader.enlarge import enlarged
from reader.grow import Sample, grown, write_quoting_circuit
from reader.initialise import write_lookup_circuit
from reader.paths import documented, word_list
from reader.sentences import sentences
from reader.sizes import SIZES, VOCABULARY
from reader.tasks import example
from reader.tokenizer import corpus, dictionary, train_tokenizer

_PLACE = ("seed", "stage", "step", "stage_step", "tokens", "seconds", "began", "last_steps")
GROWN_BY = 24  # batches that the circuit of a grown reader is fitted to
FIRST = 4.0  # weight of an answer's first token, which says what sentence is quoted


def learned_logits(model: Qwen3ForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits `[n, vocabulary]` and targets `[n]` at the learned positions only."""
    # The mask of ones matters: without a mask, transformers reads a jump of positions as the border
    # of a packed sequence and cuts the attention there.
    hidden = model.model(
        batch.ids,
        position_ids=batch.positions,
        attention_mask=torch.ones_like(batch.ids),
        use_cache=False,
    ).last_hidden_state
    chosen = batch.targets != IGNORED
    return model.lm_head(hidden[chosen]), batch.targets[chosen]


@torch.no_grad()
def answers_right(model: Qwen3ForCausalLM, batch: Batch) -> list[bool]:
    """For each answer that the documents decide, whether every token is the reader's first choice."""
    logits, targets = learned_logits(model, batch)
    right = torch.zeros_like(batch.targets, dtype=torch.bool)
    right[batch.targets != IGNORED] = logits.argmax(-1) == targets
    results: list[bool] = []
    for row, start in batch.first.nonzero().tolist():
        unlearned = (batch.targets[row, start:] == IGNORED).nonzero()
        end = start + int(unlearned[0]) if len(unlearned) else None
        results.append(bool(right[row, start:end].all()))
    return results


class Trainer:
    """Weights, optimisers and place in the curriculum, with their checkpoint."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        rate: float,
        *,
        size: str = "small",
        start: Path | None = None,
        enlarge: bool = False,
        device: str = "cpu",
        last_steps: int | None = None,
    ) -> None:
        """A run in `folder`, from its checkpoint if it has one.

        Otherwise from the initial circuit, or, with `start`, from a published reader's weights (whose
        size then counts, enlarged if `enlarge` says so) at the last stage of the curriculum. That has
        `last_steps` if they are given; a run keeps those that it began with, whatever the curriculum says
        by now. Raises ValueError for a run that began with another seed.
        """
        self.folder, self.seed, self.rate = folder, seed, rate
        self.device = torch.device(device)
        self._checkpoint = folder / "run.safetensors"
        kept = self._kept()
        if kept is not None and kept["place"].get("seed", seed) != seed:
            raise ValueError(
                f"This run began with seed {kept['place']['seed']}: name that, or another folder."
            )
        # Whatever a run left behind that never came to a checkpoint, the tokenizer is that of its start.
        if start is not None and kept is None:
            PreTrainedTokenizerFast.from_pretrained(start).save_pretrained(folder)
        self.words = dictionary(word_list())
        self.pool = self._prose()
        self.tokenizer = self._tokenizer()
        torch.manual_seed(seed)
        if kept is not None:
            config = Qwen3Config.from_dict(kept["config"])
        else:
            config = Qwen3Config.from_pretrained(start) if start else SIZES[size].config()
        self.model: Any = Qwen3ForCausalLM(config)
        write_lookup_circuit(self.model, seed)
        self.optimisers = self._fresh_optimisers()
        self.stage = self.step = self.stage_step = self.tokens = 0
        self.seconds = 0.0
        self.began = 0  # the step at which the optimisers began
        self.last_steps = last_steps or CURRICULUM[-1].max_steps
        self._compiled = False
        self._fast = self.device.type != "cpu" or multiplies_bfloat16()
        if kept is not None:
            self._restore(kept["place"])
        elif start is not None:
            self.model.load_state_dict(load_file(start / "model.safetensors"), strict=False)
            self.stage = len(CURRICULUM) - 1
            if enlarge:
                self._replace(enlarged(self.model))

    def _fresh_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        self.model.to(self.device)  # a new or grown model was made on the CPU
        if self.device.type == "cpu":
            attention.install(self.model)
        matrices = [p for p in self.model.model.layers.parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.model.parameters() if id(p) not in chosen]
        return {
            "muon": torch.optim.Muon(
                matrices, lr=self.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            ),
            "adamw": torch.optim.AdamW(others, lr=self.rate, betas=(0.9, 0.98), weight_decay=0.0),
        }

    def compile(self) -> None:
        """Compile the layers, now and when the model is replaced by a larger one."""
        self._compiled = True
        for layer in self.model.model.layers:
            layer.compile(dynamic=True)

    def _grow(self, stage: Stage) -> None:
        """Teach the model to quote (`grow.py`), fitted to what the stage is about to show it."""
        rng = Random(f"{self.seed}/grow")
        batches = [
            draw_batch(stage, self.tokenizer, self.words, rng, pool=self.pool)
            for _ in range(GROWN_BY)
        ]
        self.model = grown(self.model.cpu())
        samples = [Sample(batch.ids, batch.positions) for batch in batches]
        write_quoting_circuit(self.model, self.tokenizer, samples)
        self._replace(self.model)

    def _replace(self, model: Qwen3ForCausalLM) -> None:
        """Go on with a larger model, whose optimisers begin anew."""
        self.model = model
        self.optimisers = self._fresh_optimisers()
        self.began = self.step
        if self._compiled:
            self.compile()

    def _prose(self) -> list[str]:
        """Sentences of installed documentation; kept with the run, which must not change under way."""
        kept = self.folder / "prose.txt"
        if not kept.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(".tmp")
            aside.write_text("\n".join(sentences(documented())), encoding="utf-8")
            aside.replace(kept)
        return kept.read_text(encoding="utf-8").split("\n")

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        if (self.folder / "tokenizer.json").exists():
            stored: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(self.folder)
            stored.init_kwargs["cartridge_instructions"] = ""  # runs of before do not say so
            return stored
        recipe = CURRICULUM[-1].recipes[-1]
        rng = Random(self.seed)
        examples = (
            " ".join(s.text for s in example(rng, recipe, self.words, "train") if not s.special)
            for _ in range(1_500)
        )
        tokenizer = train_tokenizer(corpus(examples, self.words), VOCABULARY)
        tokenizer.save_pretrained(self.folder)
        return tokenizer

    def run(self, log: Path) -> Iterator[dict[str, float | str]]:
        """Train to the end of the curriculum, yielding a record every twenty steps."""
        last_save = time.monotonic()
        losses: list[float] = []
        while self.stage < len(CURRICULUM):
            stage = CURRICULUM[self.stage]
            if stage.grow and not self.stage_step:
                self._grow(stage)
            # One that was trained further from a published reader is as large as it was asked to be.
            if stage.enlarge and not self.stage_step and self.step:
                self._replace(enlarged(self.model.cpu()))
            started = time.monotonic()
            losses.append(self._learn(stage))
            self.seconds += time.monotonic() - started
            done = self.stage_step >= self._steps(stage)
            if self.step % 20 == 0 or done:
                right = answers_right(self.model.eval(), self._batch(stage, "probe"))
                share = sum(right) / max(1, len(right))
                record: dict[str, float | str] = {
                    "stage": stage.name,
                    "step": self.step,
                    "tokens": self.tokens,
                    "seconds": round(self.seconds, 1),
                    "loss": round(sum(losses) / len(losses), 4),
                    "right": round(share, 4),
                }
                losses.clear()
                with log.open("a") as lines:
                    lines.write(json.dumps(record) + "\n")
                yield record
                if done or share >= stage.promote_at:
                    self.stage, self.stage_step = self.stage + 1, 0
            if time.monotonic() - last_save > 120:
                self.save()
                last_save = time.monotonic()
        self.save()

    def _steps(self, stage: Stage) -> int:
        return self.last_steps if self.stage == len(CURRICULUM) - 1 else stage.max_steps

    def _batch(self, stage: Stage, purpose: str) -> Batch:
        rng = Random(f"{self.seed}/{purpose}/{self.step}")
        drawn = draw_batch(stage, self.tokenizer, self.words, rng, pool=self.pool)
        return drawn.to(self.device)

    def _learn(self, stage: Stage) -> float:
        batch = self._batch(stage, "train")
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._fast):
            logits, targets = learned_logits(self.model, batch)
        weights = torch.where(batch.first[batch.targets != IGNORED], FIRST, 1.0)
        losses = cross_entropy(logits.float(), targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = self.rate * min(1.0, (self.step - self.began + 1) / 30)
        if self.stage == len(CURRICULUM) - 1:
            rate *= 1 - self.stage_step / self._steps(stage)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.stage_step += 1
        self.tokens += batch.ids.numel()
        return float(losses.detach().mean())

    def save(self) -> None:
        """Write weights, optimiser state, configuration and place as one file, whole or not at all."""
        tensors = {
            f"{kind}.{parameter}.{name}": value.contiguous()
            for kind, optimiser in self.optimisers.items()
            for parameter, state in optimiser.state_dict()["state"].items()
            for name, value in state.items()
        }
        for name, parameter in self.model.named_parameters():
            tensors[f"weights.{name}"] = parameter.detach().contiguous()
        metadata = {
            "place": json.dumps({name: getattr(self, name) for name in _PLACE}),
            "config": self.model.config.to_json_string(),
        }
        aside = self._checkpoint.with_suffix(".tmp")
        save_file(tensors, aside, metadata=metadata)
        os.replace(aside, self._checkpoint)

    def _kept(self) -> dict[str, Any] | None:
        """Configuration and place of the checkpoint, or None where there is none."""
        if not self._checkpoint.exists():
            return None
        with safe_open(self._checkpoint, framework="pt") as stored:
            return {key: json.loads(text) for key, text in stored.metadata().items()}

    def _restore(self, place: dict[str, Any]) -> None:
        for name, value in place.items():
            setattr(self, name, value)
        weights: dict[str, Tensor] = {}
        states: dict[str, dict[int, dict[str, Tensor]]] = {kind: {} for kind in self.optimisers}
        for key, value in load_file(self._checkpoint).items():
            kind, rest = key.split(".", 1)
            if kind == "weights":
                weights[rest] = value
                continue
            parameter, name = rest.split(".", 1)
            states[kind].setdefault(int(parameter), {})[name] = value
        self.model.load_state_dict(weights, strict=False)  # tied embeddings are stored once
        for kind, optimiser in self.optimisers.items():
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": states[kind], "param_groups": groups})

    def publish(self, folder: Path) -> None:
        """Write the finished reader: bf16 weights, config, tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.to("cpu", torch.bfloat16).save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main() -> None:
    """Entry point of `python -m reader.train`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; rerun to resume"
    )
    parser.add_argument("--start", type=Path, help="a published reader to train further")
    parser.add_argument(
        "--enlarge", action="store_true", help="with --start: more layers and wider MLPs first"
    )
    parser.add_argument("--publish", type=Path, help="where the finished reader is written")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument(
        "--steps", type=_positive, help="of the last stage, if not as the curriculum says"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="where it computes: cpu or cuda")
    parser.add_argument(
        "--compile", action="store_true", help="compile the layers: a sixth faster, needs g++"
    )
    options = parser.parse_args()
    if options.enlarge and options.start is None:
        parser.error("--enlarge goes with --start: the curriculum itself says when to.")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    lock = FolderLock(options.out, "train.lock")
    try:
        lock.take(lambda: None)
    except FolderBusy as error:
        raise SystemExit(str(error)) from error
    try:
        trainer = Trainer(
            options.out,
            options.seed,
            options.rate,
            size=options.size,
            start=options.start,
            enlarge=options.enlarge,
            device=options.device,
            last_steps=options.steps,
        )
    except ValueError as error:
        raise SystemExit(str(error)) from error
    if options.compile:
        trainer.compile()
    print(json.dumps([asdict(stage) for stage in CURRICULUM]), flush=True)
    for record in trainer.run(options.out / "log.jsonl"):
        print(json.dumps(record), flush=True)
    if options.publish:
        trainer.publish(options.publish)


if __name__ == "__main__":
    main()
