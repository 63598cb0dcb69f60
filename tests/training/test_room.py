"""What finds no room on the disk is told apart, by what the writers really raise."""

import os
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
from training.room import write_text, written


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
    path = tmp_path / f"written.{kind}"
    path.write_text("before")

    def write(aside: Path) -> None:
        if kind == "safetensors":
            save_file({"keys": torch.rand(10_000)}, aside)
        elif kind == "parquet":
            pq.write_table(pa.table({"ids": torch.rand(10_000).numpy()}), aside)
        else:
            aside.write_text("word " * 10_000)

    with pytest.raises(StorageFull, match="free disk space"), written(path) as aside:
        write(aside)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["before"]


def test_what_is_broken_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written(tmp_path / "nowhere" / "written") as aside:
        aside.write_text("word")
    with pytest.raises(FileNotFoundError), written(tmp_path / "nowhere" / "written") as aside:
        save_file({"keys": torch.rand(1)}, aside)


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "list[1].json"
    write_text(path, "before")
    with pytest.raises(KeyError), written(path) as aside:
        raise KeyError(aside.write_text("half"))
    assert path.read_text() == "before"
    killed = path.with_name(".list[1].0123.tmp")
    for old in (False, True):
        killed.write_text("of one that was killed")
        if old:
            os.utime(killed, (0, 0))
        write_text(path, "after")
        assert killed.exists() != old
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "after"
