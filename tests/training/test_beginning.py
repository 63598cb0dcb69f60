"""What a training begins with is made once."""

from pathlib import Path

import torch

from training.beginning import kept_beginning


def test_it_is_made_once_and_read_from_then_on(tmp_path: Path) -> None:
    made = []

    def make() -> tuple[torch.Tensor, torch.Tensor]:
        made.append(torch.randn(2, 1, 3, 4))
        return made[-1], made[-1].transpose(0, 1).transpose(0, 1) + 1

    path = tmp_path / "first.safetensors"
    first, again = kept_beginning(path, make), kept_beginning(path, make)
    assert len(made) == 1
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
