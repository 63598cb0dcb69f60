"""States on disk: written behind the step, but not further behind than memory allows."""

import threading
import time
from pathlib import Path

import pytest
import torch

from cartridge_store.blobs import Data, LocalBlobs
from training.states import States


def test_who_writes_faster_than_the_disk_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, put = threading.Event(), LocalBlobs.put

    def slow(self: LocalBlobs, name: str, data: Data) -> None:
        gate.wait()
        put(self, name, data)

    monkeypatch.setattr(LocalBlobs, "put", slow)
    states, written = States(tmp_path), []

    def write() -> None:
        for number in range(20):
            states.write(str(number), {"keys": torch.full((2,), float(number))})
            written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    deadline = time.monotonic() + 10
    while not written and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert 0 < len(written) < 10
    gate.set()
    writer.join()
    states.settle()
    assert [float(states.read(str(number))["keys"][0]) for number in range(20)] == [*range(20)]


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    left = tmp_path / ".0123456789abcdef.tmp"
    left.write_bytes(b"half")
    States(tmp_path)
    assert not left.exists()
