"""The budget manager: a few cartridges of a collection are on the device, the others in files.

Cartridges at Scale (arXiv 2606.04557) trains hundreds of cartridges through a pool of about twenty: every
few steps a share of them is exchanged, those with the fewest steps come in, and Adam's moments travel
with their slots. Device memory is bounded by the pool, whatever the collection's size. A member's
state is written under a new name, down to the disk, and the list of names last: after a crash the last
list holds whole files of one moment. This file knows members by name; it knows no reader and no examples.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save
from torch import Tensor

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class PoolMismatch(ValueError):
    """The folder holds the state of another run; the message says what to do."""


@dataclass(eq=False, slots=True)
class Resident:
    """A cartridge on the device: slots float32 `[layers, kv_heads, slots, head_dim]`, its optimiser."""

    keys: Tensor
    values: Tensor
    optimiser: torch.optim.Adam


class Pool:
    """Members of a collection, at most `size` of them resident, each with an optimiser of its own."""

    def __init__(self, folder: Path, size: int, device: torch.device, identity: str) -> None:
        """A pool whose state lies in `folder`, which is its own: what it does not know there it deletes.

        Go on with `resume`, or begin with `add`. `identity` tells this run from others.
        """
        if size < 2:
            raise ValueError("A pool holds at least two cartridges: mixing needs company.")
        self._folder, self.size, self._device, self._identity = folder, size, device, identity
        self.resident: dict[str, Resident] = {}
        self.steps: dict[str, int] = {}  # of every member
        self.losses: list[float] = []  # of the run so far
        self._files: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, keys: Tensor, values: Tensor) -> None:
        """A new member with its first slots, written to its file. Names come from outside: no paths."""
        if not name or "/" in name or name.startswith("."):
            raise ValueError(f"{name!r} cannot name a member: its state is a file of that name.")
        if name in self._files:
            raise ValueError(f"{name!r} is a member already.")
        self._files[name] = self._write(name, {"keys": keys.float(), "values": values.float()}, 0)
        self.steps[name] = 0

    def checkpoint(self, step: int) -> None:
        """Make this moment the one that `resume` finds: residents' states, then the list, in order."""
        for name in self.resident:
            self._files[name] = self._write(name, self._state(name), step)
        listed = {
            "identity": self._identity,
            "step": step,
            "losses": self.losses,
            "files": self._files,
            "steps": self.steps,
            "in": [*self.resident],
        }
        _durably(self._folder / "pool.json", json.dumps(listed).encode())
        current = {*self._files.values(), "pool.json"}
        for path in self._folder.iterdir():
            if path.name not in current:
                path.unlink()

    def resume(self) -> int | None:
        """Stand where the last checkpoint was made; its step, or None where there is none.

        Raises PoolMismatch where it was made by another run.
        """
        path = self._folder / "pool.json"
        if not path.exists():
            return None
        listed = json.loads(path.read_text(encoding="utf-8"))
        if listed["identity"] != self._identity:
            raise PoolMismatch(
                f"{self._folder} holds the training of other documents, settings or another reader; use "
                "another folder, or delete it to begin again."
            )
        self._files, self.steps, self.losses = listed["files"], listed["steps"], listed["losses"]
        self.resident.clear()
        for name in listed["in"]:
            self._enter(name)
        return int(listed["step"])

    def rotate(self, share: float, weights: Mapping[str, float], rng: Random, step: int) -> None:
        """Exchange `share` of the pool: those with the most steps leave, those with the fewest come.

        Steps are counted relative to `weights` (tokens of the document): a long one has more to learn.
        While others wait, at least one is exchanged.
        """
        inside = self._ordered([*self.resident], weights, rng)
        outside = self._ordered([n for n in self.steps if n not in self.resident], weights, rng)
        room = self.size - len(inside)
        exchanged = min(
            max(1, round(share * len(inside))), max(0, len(outside) - room), len(inside)
        )
        for name in inside[len(inside) - exchanged :]:
            self._files[name] = self._write(name, self._state(name), step)
            del self.resident[name]
        for name in outside[: room + exchanged]:
            self._enter(name)

    def learn(self, names: Sequence[str], rates: Mapping[str, float]) -> None:
        """One step of Adam for the residents `names`, each at its rate; gradients are dropped."""
        for name in names:
            optimiser = self.resident[name].optimiser
            optimiser.param_groups[0]["lr"] = rates[name]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            self.steps[name] += 1

    def slots(self, name: str) -> tuple[Tensor, Tensor]:
        """Copies of a member's keys and values, on the host."""
        if name in self.resident:
            member = self.resident[name]
            return member.keys.detach().cpu().clone(), member.values.detach().cpu().clone()
        tensors = load_file(self._folder / self._files[name])
        return tensors["keys"], tensors["values"]

    def _ordered(
        self, names: Sequence[str], weights: Mapping[str, float], rng: Random
    ) -> list[str]:
        """Names by steps learned relative to their weight, fewest first; ties in random order."""
        return sorted(names, key=lambda name: (self.steps[name] / weights[name], rng.random()))

    def _enter(self, name: str) -> None:
        tensors = load_file(self._folder / self._files[name], device=str(self._device))
        keys, values = (tensors[part].requires_grad_(True) for part in ("keys", "values"))
        optimiser = torch.optim.Adam([keys, values])
        for parameter, part in ((keys, "keys"), (values, "values")):
            if f"{part}.step" in tensors:
                optimiser.state[parameter] = {m: tensors[f"{part}.{m}"] for m in _MOMENTS}
                # Adam counts its steps on the host.
                optimiser.state[parameter]["step"] = tensors[f"{part}.step"].cpu()
        self.resident[name] = Resident(keys, values, optimiser)

    def _state(self, name: str) -> dict[str, Tensor]:
        member = self.resident[name]
        state = {"keys": member.keys.detach(), "values": member.values.detach()}
        for parameter, part in ((member.keys, "keys"), (member.values, "values")):
            for moment, value in member.optimiser.state.get(parameter, {}).items():
                state[f"{part}.{moment}"] = value
        return state

    def _write(self, name: str, state: Mapping[str, Tensor], step: int) -> str:
        file = f"{name}.{step}.safetensors"
        _durably(
            self._folder / file,
            save({k: v.detach().contiguous().cpu() for k, v in state.items()}),
        )
        return file


def _durably(path: Path, data: bytes) -> None:
    """Write a whole file: its bytes and then its name are on the disk when this returns."""
    aside = path.with_name(f"{path.name}.tmp")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
