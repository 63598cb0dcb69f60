"""Enlarging keeps the function, leaves nothing that cannot learn, and is kept by a run that is resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3ForCausalLM

import reader.train as recipe
from reader.curriculum import CURRICULUM
from reader.enlarge import enlarged
from reader.initialise import write_lookup_circuit
from reader.sizes import SIZES
from reader.train import Trainer, main


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A curriculum of a few steps; reading all installed documentation takes most of a minute."""
    monkeypatch.setattr(recipe, "sentences", lambda _: ["Every worker closes its connection."])
    short = replace(CURRICULUM[0], batch_tokens=300, max_steps=2, promote_at=2.0)
    monkeypatch.setattr(recipe, "CURRICULUM", (short, replace(short, name="last", enlarge=True)))


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    whole = Qwen3ForCausalLM(SIZES["nano"].config()).eval()
    write_lookup_circuit(whole, 0)
    return whole


def test_an_enlarged_model_says_what_it_said(model: Any) -> None:
    larger: Any = enlarged(model, again=(0, 2), inner=1.25)
    assert larger.config.num_hidden_layers == model.config.num_hidden_layers + 2
    assert larger.config.intermediate_size == model.config.intermediate_size * 1.25
    assert len(larger.config.layer_types) == larger.config.num_hidden_layers
    ids = torch.randint(0, 4_096, (2, 60), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(larger(ids).logits, model(ids).logits, atol=1e-5)


def test_every_new_weight_can_learn(model: Any) -> None:
    """Of two factors that are both zero neither has a gradient."""
    larger: Any = enlarged(model, again=(1,), inner=1.5)
    ids = torch.randint(0, 4_096, (2, 60), generator=torch.Generator().manual_seed(1))
    larger(ids, labels=ids).loss.backward()
    old = model.config.intermediate_size
    for layer in larger.model.layers:
        assert layer.mlp.down_proj.weight.grad[:, old:].abs().max() > 0
    copy = larger.model.layers[2]
    assert copy.self_attn.o_proj.weight.grad.abs().max() > 0
    assert copy.mlp.down_proj.weight.grad.abs().max() > 0
    assert copy.mlp.gate_proj.weight[old:].abs().max() > 0


def test_layers_that_are_not_there_and_narrower_mlps_are_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="4 layers"):
        enlarged(model, again=(4,))
    with pytest.raises(ValueError, match="times as wide"):
        enlarged(model, inner=0.5)


def test_the_curriculum_enlarges_once_and_a_run_goes_on_enlarged(tmp_path: Path) -> None:
    whole = Trainer(tmp_path / "whole", seed=0, rate=1e-3, size="nano")
    list(whole.run(tmp_path / "whole.jsonl"))
    assert whole.model.config.num_hidden_layers == SIZES["nano"].layers + 2
    resumed = Trainer(tmp_path / "whole", seed=0, rate=1e-3, size="nano")
    assert resumed.step == 4
    for (name, a), (_, b) in zip(
        whole.model.named_parameters(), resumed.model.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(("options", "more"), [([], 0), (["--enlarge"], 2)])
def test_a_published_reader_is_enlarged_where_that_is_asked_for(
    options: list[str], more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "published"
    Trainer(tmp_path / "run", seed=0, rate=1e-3, size="nano").publish(published)
    command = ["train", "--out", str(tmp_path / "on"), "--start", str(published), *options]
    monkeypatch.setattr("sys.argv", [*command, "--publish", str(tmp_path / "larger")])
    threads = torch.get_num_threads()
    main()
    torch.set_num_threads(threads)
    loaded: Any = Qwen3ForCausalLM.from_pretrained(tmp_path / "larger")
    assert loaded.config.num_hidden_layers == SIZES["nano"].layers + more


def test_enlarging_needs_a_reader_to_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train", "--out", str(tmp_path), "--enlarge"])
    with pytest.raises(SystemExit):
        main()
    assert "--start" in capsys.readouterr().err
