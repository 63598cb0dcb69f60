"""What commands that measure share: a bar, and an end that takes along what was started."""

import os
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.cli.measuring import progress_bar
from app.cli.output import CommandFailed, explain
from evaluation.results import AnotherPlan


def test_being_terminated_ends_it_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    ended: list[str] = []

    def measure() -> None:
        with progress_bar("a measurement") as progress:
            progress("under way", 0.5)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                ended.append("what was started")

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert ended == ["what was started"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_more_is_of_experiments_that_go_seed_by_seed() -> None:
    found = CliRunner().invoke(cli, ["reproduce", "gates", "--more"]).exception
    assert isinstance(found, CommandFailed)
    assert "cas and living" in str(found)


def test_rows_of_another_plan_are_left_as_they_are(tmp_path: Path) -> None:
    kept = tmp_path / "cas-small.json"
    kept.write_text('{"plan": {"documents": 3}, "rows": []}')
    said = ["reproduce", "cas", "--small", "--more", "--out", str(tmp_path), "--seeds", "1"]
    found = CliRunner().invoke(cli, said).exception
    assert isinstance(found, AnotherPlan)
    assert "--more" in (explain(found) or "")
    assert kept.read_text() == '{"plan": {"documents": 3}, "rows": []}'
