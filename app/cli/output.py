"""What commands print: JSON when asked for, and errors as one sentence."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class CommandFailed(Exception):
    """A command could not do what it was asked; the message is for the person who asked."""


def print_json(value: Any) -> None:
    """One JSON value on stdout, in one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def shown(path: Path | str) -> str:
    """A path as text that can be printed and sent: what is no UTF-8 is replaced."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def explain(error: Exception) -> str | None:
    """The sentence for an error that is the user's or the machine's; None for a bug of ours."""
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        name = "_".join(map(str, found["loc"])).upper()
        return f"CARTRIDGES_{name}: {found['msg']}."
    if type(error).__name__ == "SettingsError":  # of pydantic-settings: what is no JSON
        return f"{error}; write it as JSON."
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}."
    # By name, so that explaining an error does not import the rooms that did not fail.
    expected = {
        "CommandFailed",
        "KeyRefused",
        "ServiceError",
        "TracingUnavailable",
        "ReaderError",
        "PoolTooSmall",
        "TrainingRefused",
        "StoreError",
        "RetrievalError",
        "AnotherPlan",
    }
    if expected & {kind.__name__ for kind in type(error).__mro__}:
        return " ".join(str(error).split())
    return None
