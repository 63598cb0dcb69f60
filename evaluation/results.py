"""Result files: what a measuring command writes under `docs/results/`, and nothing else may.

This file knows the layout and this machine's description; it knows no experiment.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from evaluation.statistics import Estimate
from inference.reader import multiplies_bfloat16

_COMPARISONS = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}


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


def _commit() -> str | None:
    """The commit measured, with `+` when the tree differs from it; None outside a checkout."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def write_result(
    folder: Path,
    name: str,
    *,
    command: str,
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    claims: Mapping[str, Claim],
    seconds: float,
) -> dict[str, Any]:
    """Write `folder/name.json`, whole or not at all, and return what was written."""
    result = {
        "name": name,
        "command": command,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "seconds": round(seconds, 1),
        "seeds": list(seeds),
        "rows": [dict(row) for row in rows],
        "claims": {key: claim.to_dict() for key, claim in claims.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{name}.json.tmp"
    aside.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(folder / f"{name}.json")
    return result
