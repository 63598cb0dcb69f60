"""`cartridges report`: one's own questions and published data sets, against a service that listens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli import cli

ARTICLE = "The old mill was built by Mira Tolen in 1962. Its wheel has turned ever since."
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Old_mill",
            "paragraphs": [
                {
                    "context": f"{ARTICLE} SLOW.",  # to be cancelled before it is trained
                    "qas": [
                        {
                            "id": f"q{number}",
                            "question": f"Who built the old mill ({number})?",
                            "answers": [{"text": "Mira Tolen", "answer_start": 26}],
                        }
                        for number in range(5)
                    ],
                }
            ],
        }
    ],
}


def run(address: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments, "--url", address, "--concurrency", "0"])


def test_a_data_set_is_sent_and_compared(
    listening: Callable[..., Any], worker: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "dev.json").write_text(json.dumps(SQUAD))
    options = ["--dataset", "squad", "--questions", str(tmp_path / "dev.json")]
    made = tmp_path / "squad.json"
    with listening() as address, worker():
        done = run(
            address,
            "mills",
            *options,
            *("--limit-questions", "3", "--arm", "rag_1", "--arm", "oracle_cartridge"),
            *("--out", str(made), "--json"),
        )
        assert done.exit_code == 0, done.output
        (document,) = httpx.get(f"{address}/v1/documents?collection=mills").json()["documents"]
        assert (document["title"], document["status"]) == ("Old mill", "ready")
        untrained = run(
            address,
            "texts",
            *options,
            *("--no-train", "--arm", "rag_1", "--json", "--out", str(tmp_path / "texts.html")),
        )
        assert untrained.exit_code == 0, untrained.output
        (document,) = httpx.get(f"{address}/v1/documents?collection=texts").json()["documents"]
        assert document["cartridge"] is None
    found = json.loads(made.read_text())
    assert found["summary"]["questions"] == 3
    assert {arm["name"] for arm in found["arms"]} == {"rag_1", "oracle_cartridge"}
    assert {document["document"] for document in found["documents"]} == {"old-mill"}


def test_ones_own_questions_bring_their_documents(
    listening: Callable[..., Any], worker: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "mill.md").write_text(f"# The mill\n\n{ARTICLE}")
    lines = [
        {"id": "who", "question": "Who built it?", "answers": ["Mira"], "documents": ["mill"]},
        {"question": "Which?", "answers": ["a"], "options": ["a", "b"], "documents": ["mill"]},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = tmp_path / "report.md"
    with listening() as address, worker():
        done = run(
            address, "mine", "--questions", str(tmp_path), "--arm", "icl", "--out", str(made)
        )
    assert done.exit_code == 0, done.output
    assert f"Written to {made}" in done.output
    assert made.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["default"], "--questions"),
        (["default", "--dataset", "magic", "--questions", "x"], "choose one of"),
        (["default", "--questions", "nowhere.jsonl"], "nowhere.jsonl"),
        (["default", "--questions", "x", "--out", "report.pdf"], ".html, .md or .json"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(arguments: list[str], said: str) -> None:
    done = run("http://127.0.0.1:9", *arguments)
    assert done.exit_code != 0
    assert said in str(done.exception or done.output)
