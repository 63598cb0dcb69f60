"""Result files: what a measuring command writes under `docs/results/`, and nothing else may.

A long experiment may measure a few seeds now and more of them later, on another machine: the rows that its
file has are kept then, each with what it was measured by. This file knows the layout and this machine's
description; it knows no experiment.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from evaluation.statistics import Estimate
from inference.reader import multiplies_bfloat16

_COMPARISONS = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}


class AnotherPlan(ValueError):
    """A result file was made by another plan than the one that is to go on with it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A measured figure with the target it is held against, such as `">= 0.90"` (or None)."""

    value: Estimate
    target: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Value, interval, target, and whether the mean meets it."""
        met: bool | None = None
        if self.target is not None:
            sign, bound = self.target.split()
            met = bool(_COMPARISONS[sign](self.value.mean, float(bound)))
        return {
            "value": _rounded(self.value.mean),
            "ci95": None
            if self.value.interval is None
            else [_rounded(bound) for bound in self.value.interval],
            "target": self.target,
            "met": met,
        }


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "bfloat16": multiplies_bfloat16(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()


@dataclass(frozen=True, slots=True)
class Began:
    """When a measurement began, by the monotonic clock, and of which commit: who commits beside it changes
    neither."""

    at: float
    commit: str | None


def begin() -> Began:
    """To be called before anything is measured."""
    return Began(time.monotonic(), _commit())


def made_by(began: Began) -> dict[str, Any]:
    """What a row or a piece of one says of where it comes from: commit, date and machine."""
    today = datetime.now(UTC).date().isoformat()
    return {"commit": began.commit, "date": today, "machine": machine()}


def together(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same of what was measured in pieces: every commit and date, in the order of their dates."""
    ordered = sorted(pieces, key=lambda piece: str(piece["date"]))
    joined = {
        key: ", ".join(dict.fromkeys(str(piece[key]) for piece in ordered))
        for key in ("commit", "date")
    }
    return joined | {"machine": ordered[-1]["machine"]}


def _commit() -> str | None:
    """This program's commit, with `+` when the tree differs from it; None outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _git(*words: str) -> str:
    return subprocess.run(  # noqa: S603
        ["git", *words],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    ).stdout.strip()


def earlier_rows(folder: Path, name: str, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that `folder/name.json` has, each with `measured`: the commit, date and machine; none where
    there is no such file. `plan` is what the experiment would be run by now, but its seeds.

    Raises AnotherPlan where the file was made by another one: such rows are not of one experiment.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return []
    known = json.loads(path.read_text(encoding="utf-8"))
    if apart := _differences(known.get("plan") or {}, _plain(plan)):
        raise AnotherPlan(
            f"{path} was measured by another plan ({apart}); run it by that one, or leave out --more to "
            "measure all anew."
        )
    head = {key: known[key] for key in ("commit", "date", "machine")}
    return [row if "measured" in row else row | {"measured": head} for row in known["rows"]]


def require_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Let a working folder, which is made, be this plan's alone: what lies there is not measured again.

    Raises AnotherPlan where it was begun by another one.
    """
    path = folder / "plan.json"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        apart = _differences(json.loads(path.read_text(encoding="utf-8")), _plain(plan))
    else:
        begun = any(each.is_dir() for each in folder.iterdir())
        apart = "of which nothing is known" * begun
    if apart:
        raise AnotherPlan(
            f"{folder} was begun by another plan ({apart}); run it by that one, give another folder "
            "(--work), or delete this one to measure all anew."
        )
    _put(path, json.dumps(_plain(plan), indent=1))


def _differences(known: Mapping[str, Any], today: Mapping[str, Any], within: str = "") -> str:
    """What two plans differ in, in words; empty where they are equal."""
    apart = []
    for key in sorted(known.keys() | today.keys()):
        before, now = known.get(key), today.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            apart.append(_differences(before, now, f"{within}{key}."))
        elif before != now:
            apart.append(f"{within}{key} was {json.dumps(before)} and is {json.dumps(now)}")
    return "; ".join(filter(None, apart))


def _plain(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan as JSON reads it back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(plan)))
    return plain


def write_result(
    folder: Path,
    name: str,
    *,
    command: str,
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    claims: Mapping[str, Claim],
    began: Began,
    plan: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `folder/name.json`, whole or not at all, and return what was written.

    Of a measurement that was interrupted, `began` and the seconds are its last piece's. Commit, date,
    machine and seconds are of the rows that do not say otherwise (`measured`). `plan` is what
    `earlier_rows` goes by.
    """
    result = {
        "name": name,
        "command": command,
        **made_by(began),
        "seconds": round(time.monotonic() - began.at, 1),
        "seeds": list(seeds),
        **({} if plan is None else {"plan": _plain(plan)}),
        "rows": [dict(row) for row in rows],
        "claims": {key: claim.to_dict() for key, claim in claims.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / f"{name}.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
