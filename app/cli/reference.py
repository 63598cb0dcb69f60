"""The reference pages, made from what they describe: `python -m app.cli.reference [--write]`.

docs/cli.md says the commands and docs/settings.md the settings; a test fails when they differ. Knows no
command and no setting by name.
"""

import argparse
import sys
from pathlib import Path

import typer
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

from app.cli import cli
from app.settings import PREFIX, Settings

_ROOT = Path(__file__).parents[2]
_BEFORE_SETTINGS = f"""# Settings

Environment variables, read once at the start of each process. Lists are separated by commas, objects are
JSON. The fields of `{PREFIX}TRAINING` are those of `TrainingSettings` in `training/settings.py`.

| variable | default | what it says |
| --- | --- | --- |
"""


def commands() -> str:
    """The page of the commands, in Markdown."""
    command = typer.main.get_command(cli)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="cartridges")
    return text.strip() + "\n"


def settings() -> str:
    """The page of the settings, in Markdown."""
    rows = (
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    )
    return _BEFORE_SETTINGS + "".join(rows)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value in (None, (), {}):
        return ""
    shown = str(value).removeprefix(f"{_ROOT}/")
    return f"`{shown.lower() if isinstance(value, bool) else shown}`"


PAGES = {_ROOT / "docs" / "cli.md": commands, _ROOT / "docs" / "settings.md": settings}


def main() -> None:
    """Write the pages, or say whether they are what the code says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the pages anew")
    write = parser.parse_args().write
    for page, made in PAGES.items():
        if write:
            page.write_text(made(), encoding="utf-8")
        elif page.read_text(encoding="utf-8") != made():
            sys.exit(
                f"docs/{page.name} is not what the code says; run python -m app.cli.reference --write"
            )


if __name__ == "__main__":
    main()
