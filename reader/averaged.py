"""The mean of two readers: `python -m reader.averaged OLD NEW --share 0.65 --publish FOLDER`.

A reader that was trained further on another mix has gained there and lost elsewhere; the mean of its
weights and those that it began with may keep more of both than either has (weight-space ensembles, arXiv
2109.01903; docs/log.md has what it brought here). This file knows weights; it knows no recipe.
"""

import argparse
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def average(old: Path, new: Path, share: float, out: Path) -> None:
    """Write `out`, a copy of `new` whose weights are `share` of its own and the rest of `old`'s.

    Raises ValueError where they are not two readers of one shape, or `share` is none.
    """
    if not 0 <= share <= 1:
        raise ValueError("The share of the new reader's weights is a number from 0 to 1.")
    ours, theirs = load_file(new / WEIGHTS), load_file(old / WEIGHTS)
    if {name: t.shape for name, t in ours.items()} != {name: t.shape for name, t in theirs.items()}:
        raise ValueError(f"{old} and {new} are not two readers of one shape.")
    if out.resolve() != new.resolve():
        shutil.copytree(new, out, dirs_exist_ok=True)
    mean = {
        name: ((1 - share) * theirs[name].float() + share * tensor.float()).to(tensor.dtype)
        for name, tensor in ours.items()
    }
    save_file(mean, out / WEIGHTS, metadata={"format": "pt"})


def main() -> None:
    """Entry point of `python -m reader.averaged`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="the published reader that training began with")
    parser.add_argument("new", type=Path, help="the published reader that came of it")
    parser.add_argument("--share", type=float, default=0.5, help="of the new reader's weights")
    parser.add_argument("--publish", type=Path, required=True, help="where the mean is written")
    options = parser.parse_args()
    try:
        average(options.old, options.new, options.share, options.publish)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
