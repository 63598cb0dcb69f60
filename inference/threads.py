"""Torch's threads: as many as are wanted in a thread that computes, one in every other.

OpenMP keeps a team for each thread that has computed in parallel. With more members of teams than
processors they sleep between operations instead of waiting awake, and where operations are as short as a
small model's everything takes two to three times as long (docs/log.md). This file knows threads and no
tensor.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def compute_alone() -> int:
    """One torch thread for the calling thread, and for all that begin after this; how many it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    return threads


def compute_with(threads: int) -> None:
    """So many torch threads for the calling thread, and one for all that begin after this."""
    torch.get_num_threads()  # or the first operation would take over what threads begin with
    torch.set_num_threads(threads)
    # Threads that begin take over what was said last, wherever it was said.
    last = threading.Thread(target=compute_alone)
    last.start()
    last.join()


def computed_apart(threads: int, run: Callable[[], T]) -> T:
    """What `run` gives, by so many torch threads in a thread of its own: its team ends with it.

    Raises what `run` raises.
    """
    with ThreadPoolExecutor(1, "apart", initializer=compute_with, initargs=(threads,)) as alone:
        return alone.submit(run).result()
