"""The rules of the house that a program can check."""

import ast
import re
import tomllib
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


def imported(path: Path) -> set[str]:
    """Packages that a module imports when it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


def test_training_and_inference_run_on_a_bare_gpu_machine() -> None:
    allowed = {
        *("torch", "transformers", "safetensors", "numpy", "pyarrow"),
        "tokenizers",  # transformers needs it, so it is there
        *("training", "inference", "cartridge_store"),
    }
    standard = __import__("sys").stdlib_module_names
    for room in ("training", "inference"):
        for path in (ROOT / room).rglob("*.py"):
            for name in imported(path):
                # What lies there runs in vLLM's own environment.
                own = path.parent.name == "vllm" and name in ("vllm", "packaging")
                assert own or name in allowed or name in standard, f"{path} imports {name}"


def test_compose_file_names_commands_that_exist() -> None:
    from app.cli import cli

    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    commands = {command.name or command.callback.__name__ for command in cli.registered_commands}
    for name in ("api", "worker"):
        assert compose["services"][name]["command"][0] in commands
    for name, service in compose["services"].items():
        if name != "worker":  # it has no port; its jobs' heartbeats are in Redis
            assert "healthcheck" in service, name
        assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", service["image"]), name
        assert (
            "limits" in service["deploy"]["resources"]
            or "reservations" in (service["deploy"]["resources"])
        )
    assert {s for s in compose["services"] if "profiles" not in compose["services"][s]} == {
        "redis",
        "api",
        "worker",
    }
    for name in ("api", "worker"):
        assert compose["services"][name]["cap_drop"] == ["ALL"]
    assert "USER cartridges" in (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\w+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(copied) == set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_what_monitoring_asks_for_is_there() -> None:
    """Every metric that the dashboard and the alerts name is one that the service has."""
    from app.metrics import Lookups, Metrics
    from inference.requests import EngineLoad

    metrics = Metrics()
    load = EngineLoad(0, 0, 0, 0, 0, 0, 0, 0)
    metrics.registry.register(Lookups(lambda: load, dict, dict, lambda: 0))
    there: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)", metrics.text().decode(), re.MULTILINE):
        parts = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        there |= {f"{name}{part}" for part in parts}
    folder = ROOT / "docs" / "monitoring"
    named = "".join((folder / name).read_text() for name in ("dashboard.json", "alerts.yml"))
    asked = set(re.findall(r"\bcartridges_\w+", named))
    assert len(asked) > 10
    assert asked - there == set()


def test_alerts_compare_what_has_the_same_labels() -> None:
    """Prometheus matches the sides of a comparison by all labels, and finds nothing where they differ."""
    rules = yaml.safe_load((ROOT / "docs" / "monitoring" / "alerts.yml").read_text("utf-8"))
    expressions = [rule["expr"] for rule in rules["groups"][0]["rules"]]
    assert len(expressions) > 5
    for expression in expressions:
        sides = re.split(r" [<>]=? ", expression)
        if len(sides) > 1 and all("cartridges_" in side for side in sides):
            sums = [set(re.findall(r"\bsum( by \([a-z, ]+\))? ?\(", side)) for side in sides]
            assert len(sums[0]) == 1, expression
            assert sums == [sums[0]] * len(sides), expression


def test_the_reference_pages_are_what_the_code_says() -> None:
    from app.cli.reference import PAGES

    for page, made in PAGES.items():
        assert page.read_text("utf-8") == made(), "run python -m app.cli.reference --write"
