"""The budget manager: a few cartridges of a collection are on the device, the others in files.

Cartridges at Scale (arXiv 2606.04557) trains hundreds of cartridges through a pool of about twenty: every
few steps a share of them is exchanged, those with the fewest turns come in, and Adam's moments travel
with their slots, as does what their examples lost. Device memory is bounded by the pool, whatever the
collection's size. A member's state is written under a new name, down to the disk, and the list of names
last: after a crash the last list holds whole files of one moment. Those who leave are written and those who
will come are read beside the steps (`states.py`). This file knows members by name; it knows no reader and
no examples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from cartridge_store.ids import validate_id
from training.states import States

_MOMENTS = ("exp_avg", "exp_avg_sq")
_LIST = "pool.json"


class PoolMismatch(ValueError):
    """The folder holds the state of another run; the message says what to do."""


@dataclass(eq=False, slots=True)
class Resident:
    """A cartridge on the device: slots float32 `[layers, kv_heads, slots, head_dim]`, its optimiser.

    `lately` float32 `[examples]`, on the host, is what each of its examples last lost; None before any was
    drawn.
    """

    keys: Tensor
    values: Tensor
    optimiser: torch.optim.Adam
    lately: Tensor | None = None


class Pool:
    """Members of a collection, at most `size` of them resident, each with an optimiser of its own."""

    def __init__(
        self,
        folder: Path,
        size: int,
        device: torch.device,
        identity: str,
        second_moment: float = 0.999,
    ) -> None:
        """A pool whose state lies in `folder`, which is its own: what it does not know there it deletes.

        Go on with `resume`, or begin with `add`. `identity` tells this run from others, `second_moment` is
        the share that Adam keeps of it in a step.
        """
        if size < 2:
            raise ValueError("A pool holds at least two cartridges: mixing needs company.")
        self._folder, self.size, self._device, self._identity = folder, size, device, identity
        self._betas = (0.9, second_moment)
        self._states = States(folder)
        self.resident: dict[str, Resident] = {}
        self.steps: dict[str, int] = {}  # of every member
        self.turns: dict[str, int] = {}  # rotations that each was resident at
        self.losses: list[float] = []  # of the run so far
        self._files: dict[str, str] = {}

    def add(self, name: str, keys: Tensor, values: Tensor) -> None:
        """A new member with its first slots, written to its file. Raises InvalidId, ValueError."""
        validate_id(name, "member")
        if name in self._files:
            raise ValueError(f"{name!r} is a member already.")
        self._files[name] = self._write(name, {"keys": keys.float(), "values": values.float()}, 0)
        self.steps[name] = self.turns[name] = 0

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
            "turns": self.turns,
            "in": [*self.resident],
        }
        self._states.put(_LIST, json.dumps(listed).encode())
        self._states.keep_only([*self._files.values(), _LIST])

    def resume(self) -> int | None:
        """Stand where the last checkpoint was made; its step, or None where there is none.

        Raises PoolMismatch where it was made by another run.
        """
        stored = self._states.get(_LIST)
        if stored is None:
            return None
        listed = json.loads(stored)
        if listed["identity"] != self._identity:
            raise PoolMismatch(
                f"{self._folder} holds the training of other documents, settings or another reader; use "
                "another folder, or delete it to begin again."
            )
        self._files, self.steps, self.losses = listed["files"], listed["steps"], listed["losses"]
        self.turns = listed.get("turns", dict.fromkeys(self.steps, 0))  # once they were not counted
        self.resident.clear()
        for name in listed["in"]:
            self._enter(name)
        return int(listed["step"])

    def rotate(self, share: float, rng: Random, step: int) -> None:
        """Exchange `share` of the pool: those that were in it longest leave, those that were least come.

        While others wait, at least one is exchanged. All stay equally long: that a long document has more
        to learn is told by its share of the rows, and counted here as well it would count twice.
        """
        leaving, coming = self._exchange(share, rng)
        for name in self.resident:
            self.turns[name] += 1
        for name in leaving:
            self._files[name] = self._write(name, self._state(name), step)
            del self.resident[name]
        for name in coming:
            self._enter(name)

    def expect(self, share: float, rng: Random) -> None:
        """Read ahead those who come at the next `rotate`, given what it will be given.

        Who comes depends on the turns of those outside, which stand still until then.
        """
        _, coming = self._exchange(share, rng)
        self._states.expect(self._files[name] for name in coming)

    def _exchange(self, share: float, rng: Random) -> tuple[list[str], list[str]]:
        """Who leaves and who comes."""
        inside = self._ordered([*self.resident], rng)
        outside = self._ordered([n for n in self.steps if n not in self.resident], rng)
        room = self.size - len(inside)
        exchanged = min(
            max(1, round(share * len(inside))), max(0, len(outside) - room), len(inside)
        )
        return inside[len(inside) - exchanged :], outside[: room + exchanged]

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
        tensors = self._states.read(self._files[name])
        return tensors["keys"], tensors["values"]

    def _ordered(self, names: Sequence[str], rng: Random) -> list[str]:
        """Names by their turns, fewest first; ties in random order."""
        return sorted(names, key=lambda name: (self.turns[name], rng.random()))

    def _enter(self, name: str) -> None:
        tensors = self._states.read(self._files[name])
        keys, values = (
            tensors[part].to(self._device).requires_grad_(True) for part in ("keys", "values")
        )
        optimiser = torch.optim.Adam([keys, values], betas=self._betas)
        for parameter, part in ((keys, "keys"), (values, "values")):
            if f"{part}.step" in tensors:
                optimiser.state[parameter] = {
                    moment: tensors[f"{part}.{moment}"].to(self._device) for moment in _MOMENTS
                }
                optimiser.state[parameter]["step"] = tensors[f"{part}.step"]  # stays on the host
        self.resident[name] = Resident(keys, values, optimiser, tensors.get("lately"))

    def _state(self, name: str) -> dict[str, Tensor]:
        member = self.resident[name]
        state = {"keys": member.keys.detach(), "values": member.values.detach()}
        for parameter, part in ((member.keys, "keys"), (member.values, "values")):
            for moment, value in member.optimiser.state.get(parameter, {}).items():
                state[f"{part}.{moment}"] = value
        if member.lately is not None:
            state["lately"] = member.lately
        return state

    def _write(self, name: str, state: Mapping[str, Tensor], step: int) -> str:
        # Files are numbered: a name may be as long as a file's.
        number = self._files[name].split(".")[0] if name in self._files else len(self._files)
        file = f"{number}.{step}.safetensors"
        self._states.write(file, state)
        return file
