"""What finds no room on the disk is told apart, by what the writers really raise."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from cartridge_store.errors import StorageFull
from training.room import written


@pytest.fixture
def quota() -> Iterator[None]:
    """No file of this process grows beyond a kilobyte."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("quota")
@pytest.mark.parametrize("kind", ["safetensors", "parquet", "text"])
def test_a_full_disk_is_told_apart_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    aside = tmp_path / f"written.{kind}"

    def write() -> None:
        if kind == "safetensors":
            save_file({"keys": torch.rand(10_000)}, aside)
        elif kind == "parquet":
            pq.write_table(pa.table({"ids": torch.rand(10_000).numpy()}), aside)
        else:
            aside.write_text("word " * 10_000)

    with pytest.raises(StorageFull, match="free disk space"), written(aside):
        write()
    assert not aside.exists()


def test_what_is_broken_stays_what_it_is(tmp_path: Path) -> None:
    aside = tmp_path / "nowhere" / "written"
    with pytest.raises(FileNotFoundError), written(aside):
        aside.write_text("word")
