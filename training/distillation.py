"""Context distillation: slots are trained until the reader behind them answers as the teacher did.

Adam on the slots alone, warm-up and linear decay; one cartridge in view (isolated training). The
state is checkpointed with its optimiser moments, and a resumed run ends bit for bit where an
uninterrupted one does. The next-token baseline learns the document's own tokens instead, with the
same slots, steps and optimiser. This file knows tensors and one folder; it knows no questions.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from inference.reader import Reader
from training.examples import StudyExample
from training.room import written
from training.settings import Cancelled, TrainingSettings
from training.student import Lesson, answer_states, distillation_loss, hidden_states

LossOf = Callable[[Tensor, Tensor, int], Tensor]
"""Loss of (keys, values) at a step."""


class Distillation:
    """Slots being trained: keys and values float32 `[layers, kv_heads, slots, head_dim]`."""

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        steps: int,
        settings: TrainingSettings,
        folder: Path,
        name: str = "distillation",
    ) -> None:
        """A run that keeps its state in `folder` under `name`."""
        self.keys = keys.detach().clone().float().requires_grad_(True)
        self.values = values.detach().clone().float().requires_grad_(True)
        self.steps = steps
        self.step = 0
        self.losses: list[float] = []
        self._settings = settings
        self._path = folder / f"{name}.safetensors"
        self._optimiser = torch.optim.Adam([self.keys, self.values], lr=settings.learning_rate)
        if self._path.exists():
            self._restore()

    def run(
        self,
        loss_of: LossOf,
        report: Callable[[float], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the last step. Raises Cancelled, with the checkpoint written."""
        while self.step < self.steps:
            if cancelled():
                self.save()
                raise Cancelled
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate()
            loss = loss_of(self.keys, self.values, self.step)
            self._optimiser.zero_grad()
            torch.autograd.backward(loss)
            self._optimiser.step()
            self.losses.append(float(loss.detach()))
            self.step += 1
            if self.step % self._settings.checkpoint_every == 0 or self.step == self.steps:
                self.save()
            report(self.step / self.steps)

    def _rate(self) -> float:
        settings = self._settings
        warm = min(1.0, (self.step + 1) / settings.warm_up)
        left = 1 - self.step / self.steps
        return settings.learning_rate * warm * max(settings.final_rate, left)

    def save(self) -> None:
        """Write slots, moments and step; whole or not at all."""
        tensors = {"keys": self.keys.detach(), "values": self.values.detach()}
        for index, state in self._optimiser.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"{name}.{index}"] = value
        place = {"step": str(self.step), "losses": json.dumps(self.losses)}
        with written(self._path) as aside:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, aside, metadata=place)

    def _restore(self) -> None:
        with safe_open(self._path, framework="pt") as stored:
            metadata = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        self.step = int(metadata["step"])
        self.losses = json.loads(metadata["losses"])
        with torch.no_grad():
            self.keys.copy_(tensors.pop("keys"))
            self.values.copy_(tensors.pop("values"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            moment, index = name.rsplit(".", 1)
            state.setdefault(int(index), {})[moment] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})


def distilling(
    reader: Reader, examples: Sequence[StudyExample], settings: TrainingSettings
) -> LossOf:
    """The distillation loss over batches drawn in epochs, each in an order of its own."""

    sizes = [len(example.prompt) + len(example.answer) for example in examples]

    def loss(keys: Tensor, values: Tensor, step: int) -> Tensor:
        rows = _rows(sizes, settings.batch, step, settings.seed)
        lesson = Lesson.of([examples[row] for row in rows], reader.device)
        hidden = answer_states(reader, keys, values, lesson, settings.question_offset)
        return distillation_loss(reader, hidden, lesson)

    return loss


def _rows(sizes: Sequence[int], batch: int, step: int, seed: int) -> list[int]:
    """Rows of batch `step`, a function of the step alone so that a run can resume anywhere.

    An epoch's batches hold rows of about equal size, so that attention is computed for little padding.
    """
    count = math.ceil(len(sizes) / batch)
    epoch, index = divmod(step, count)
    rng = Random(f"epoch/{seed}/{epoch}")
    order = sorted(range(len(sizes)), key=lambda row: sizes[row] * rng.uniform(0.7, 1.4))
    turns = list(range(count))
    rng.shuffle(turns)
    # Even shares: a remainder would be the longest rows, weighing as much as a whole batch.
    start, end = (part * len(sizes) // count for part in (turns[index], turns[index] + 1))
    return order[start:end]


def next_token(reader: Reader, text: str, settings: TrainingSettings) -> LossOf:
    """The next-token baseline: predict the document itself behind the slots."""
    tokens = torch.tensor(reader.chat.ids_of(text))
    span = min(len(tokens) - 1, settings.window_max * 2)

    def loss(keys: Tensor, values: Tensor, step: int) -> Tensor:
        rng = Random(f"next-token/{settings.seed}/{step}")
        rows = max(1, min(4, len(tokens) // span))
        starts = [rng.randint(0, len(tokens) - span - 1) for _ in range(rows)]
        batch = torch.stack([tokens[s : s + span + 1] for s in starts]).to(reader.device)
        ids = batch[:, :-1]
        hidden = hidden_states(
            reader, keys, values, ids, torch.ones_like(ids), settings.question_offset
        )
        return cross_entropy(reader.logits(hidden).flatten(0, 1), batch[:, 1:].flatten())

    return loss
