"""The rules of the house that a program can check."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ROOMS = (
    "app",
    "evaluation",
    "training",
    "inference",
    "retrieval",
    "cartridge_store",
    "reader",
    "benchmarks",
)


def modules() -> list[Path]:
    return [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def test_every_module_says_what_it_is() -> None:
    for path in modules():
        assert path.read_text(encoding="utf-8").startswith('"""'), path


def test_nothing_unpickles() -> None:
    forbidden = re.compile(
        r"\bimport pickle\b|(?<!safetensors\.)torch\.load\(|joblib\.load|allow_pickle=True"
    )
    assert not [path for path in modules() if forbidden.search(path.read_text(encoding="utf-8"))]


def test_training_and_inference_run_on_a_bare_gpu_machine() -> None:
    allowed = {
        *("torch", "transformers", "safetensors", "numpy", "pyarrow"),
        "tokenizers",  # transformers needs it, so it is there
        *("training", "inference", "cartridge_store"),
    }
    standard = __import__("sys").stdlib_module_names
    for room in ("training", "inference"):
        for path in (ROOT / room).rglob("*.py"):
            for name in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE):
                assert name in allowed or name in standard, f"{path} imports {name}"


def test_compose_file_names_commands_that_exist() -> None:
    from app.cli import cli

    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    commands = {command.name or command.callback.__name__ for command in cli.registered_commands}
    for name in ("api", "worker"):
        assert compose["services"][name]["command"][0] in commands
    for name in ("redis", "api"):
        assert "healthcheck" in compose["services"][name]
    assert not compose["services"]["redis"]["image"].endswith(":latest")
