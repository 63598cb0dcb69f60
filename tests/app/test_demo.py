"""`cartridges demo`, trained next to nothing, in a shell that is set up for another service."""

import json
import os
import subprocess
import sys
from pathlib import Path

from app.cli.demo import ENOUGH
from app.demo.material import material
from benchmarks.service_process import QUICK


def test_the_demonstration_asks_everything_twice_and_says_where_it_falls_short(
    tmp_path: Path,
) -> None:
    environment = os.environ | {
        "CARTRIDGES_TRAINING": json.dumps(QUICK),
        "CARTRIDGES_REDIS_URL": "redis://127.0.0.1:1/0",
        "CARTRIDGES_API_KEYS": f'{{"somebody": "{"0" * 64}"}}',
        "CARTRIDGES_NOT_STATED": "No idea.",
        "CARTRIDGES_CONFLICTS": "quarantine",
        "CARTRIDGES_DATA": str(tmp_path / "of another"),
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", "demo", "--json", "--data", str(tmp_path / "demo")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert f"Fewer than {ENOUGH}" in ended.stderr
    papers, questions = material()
    found = json.loads(ended.stdout)
    assert (found["documents"], found["questions"]) == (len(papers), len(questions))
    assert found["cartridges"] < len(papers)  # what was hardly trained does not pass its check
    assert found["rag_right"] >= ENOUGH  # the texts were there to be read
    assert [row["question"] for row in found["rows"]] == [each.text for each in questions]
    assert found["mean_prompt_tokens_rag"] > 100
    assert not (tmp_path / "of another").exists()
