"""The mean of two readers lies between them, and of two shapes there is none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reader.averaged import WEIGHTS, average, main


def reader(folder: Path, value: float, size: int = 4) -> Path:
    folder.mkdir()
    tensors = {"a": torch.full((size,), value), "b": torch.full((2, 2), 2 * value).bfloat16()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(f'{{"from": "{folder.name}"}}')
    return folder


def test_weights_are_between_and_the_rest_is_the_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, out = reader(tmp_path / "old", 0.0), reader(tmp_path / "new", 4.0), tmp_path / "out"
    command = ["averaged", str(old), str(new), "--share", "0.25", "--publish", str(out)]
    monkeypatch.setattr("sys.argv", command)
    main()
    mean = load_file(out / WEIGHTS)
    assert torch.equal(mean["a"], torch.full((4,), 1.0))
    assert torch.equal(mean["b"], torch.full((2, 2), 2.0).bfloat16())
    assert "new" in (out / "config.json").read_text()


def test_two_shapes_have_no_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = reader(tmp_path / "old", 0.0), reader(tmp_path / "new", 4.0, size=5)
    monkeypatch.setattr(
        "sys.argv", ["averaged", str(old), str(new), "--publish", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit, match="not two readers of one shape"):
        main()
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="from 0 to 1"):
        average(old, old, 1.5, tmp_path / "out")
