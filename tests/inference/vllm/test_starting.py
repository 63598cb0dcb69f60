"""How vLLM is started for cartridges: options, secrets, weights, its environment; no server needed."""

import json
from pathlib import Path

import pytest

from benchmarks.vllm_process import VllmMissing, vllm_python
from inference.reader import Reader, load_reader
from inference.vllm.options import CLIENT, Options
from inference.vllm.serve import loses_weights, main, server_arguments, transfer_config
from reader.paths import bundled_reader
from tests.models import write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return load_reader(folder, device="cpu", dtype="float32")


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown fields"):
        Options.of({"cartridges": "x", "card": "y", "colour": "red"}, {})
    with pytest.raises(ValueError, match="lacks"):
        Options.of({"cartridges": "x"}, {})
    with pytest.raises(ValueError, match="at least 1"):
        Options.of({"cartridges": "x", "card": "y", "most": 0}, {})


def test_the_stores_secret_is_in_the_environment_and_in_no_word(tmp_path: Path) -> None:
    text = transfer_config("memory://one/two", tmp_path / "card", 1 << 20, 2)
    extra = json.loads(text)["kv_connector_extra_config"]
    options = Options.of(extra, {CLIENT: '{"secret": "hush"}'})
    assert options.client == {"secret": "hush"}
    assert "hush" not in repr(options)
    assert Options.of(extra, {CLIENT: ""}) == Options.of(extra, {})
    for wrong in ("hush", "[]"):
        with pytest.raises(ValueError, match="no JSON object") as caught:
            Options.of(extra, {CLIENT: wrong})
        assert "hush" not in str(caught.value)
    with pytest.raises(ValueError, match=CLIENT):
        Options.of(extra | {"client": {}}, {})


@pytest.mark.parametrize(
    "named",
    [
        ["--revision", "v2"],
        ["--tokenizer_revision=v2"],
        ["--tokenizer", "other"],
        ["--hf-overrides", "{}"],
        ["--hf-overrides.rope_parameters.factor=4"],
    ],
    ids=str,
)
def test_another_reader_than_the_cards_is_refused(
    capsys: pytest.CaptureFixture[str], named: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["nowhere", "--cartridges", "data", *named])
    assert "give its folder" in capsys.readouterr().err


def test_a_model_whose_weights_vllm_would_drop_is_served_by_transformers(reader: Reader) -> None:
    assert not loses_weights(reader)
    assert "--model-impl" not in server_arguments(reader, "{}", "float32", [])
    biased = load_reader(bundled_reader(), device="cpu", dtype="float32")
    assert loses_weights(biased)
    made = server_arguments(biased, "{}", "float32", ["--port", "1"])
    assert made[made.index("--model-impl") + 1] == "transformers"
    chosen = server_arguments(biased, "{}", "float32", ["--model-impl", "vllm"])
    assert chosen.count("--model-impl") == 1


def test_a_missing_or_broken_off_environment_is_said_to_be_one(tmp_path: Path) -> None:
    python = tmp_path / ".venv-vllm" / "bin" / "python"
    with pytest.raises(VllmMissing, match="make vllm-env"):
        vllm_python({}, tmp_path)
    python.parent.mkdir(parents=True)
    python.touch()
    with pytest.raises(VllmMissing, match="make vllm-env"):
        vllm_python({}, tmp_path)
    (tmp_path / ".venv-vllm" / ".installed").touch()
    assert vllm_python({}, tmp_path) == python
    with pytest.raises(VllmMissing):
        vllm_python({"CARTRIDGES_VLLM_PYTHON": "/nowhere/python"}, tmp_path)
