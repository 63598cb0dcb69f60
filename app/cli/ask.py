"""`cartridges ask`: one question, one answer, with where it comes from."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli.client import Url, connected
from app.cli.output import AsJson, print_json
from app.settings import Settings
from retrieval.text import only_text


class Mode(StrEnum):
    """How to answer."""

    auto = "auto"
    cartridge = "cartridge"
    rag = "rag"
    icl = "icl"
    none = "none"


def ask(
    question: Annotated[str, typer.Argument(help="The question, in words.")],
    mode: Annotated[Mode, typer.Option(help="How to answer.")] = Mode.auto,
    collection: Annotated[str, typer.Option(help="Which documents to ask.")] = "default",
    max_tokens: Annotated[
        int, typer.Option(min=1, max=1024, help="How long the answer may be.")
    ] = 96,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question; the service is started for as long as it takes, if need be."""
    body = {
        "question": question,
        "mode": mode.value,
        "collection": collection,
        "max_tokens": max_tokens,
    }
    # A question needs no worker.
    with connected(Settings(), url, workers=0) as client:
        answer = client.request("POST", "/v1/answers", json=body)
    if as_json:
        print_json(answer)
        return
    # What a document says may hold what moves a terminal's cursor.
    typer.echo(only_text(answer["answer"]))
    for line in _remarks(answer):
        typer.secho(only_text(line), dim=True, err=True)


def _remarks(answer: dict[str, Any]) -> list[str]:
    sources = [f"{source['title']} (as {source['via']})" for source in answer["sources"]]
    usage, timings = answer["usage"], answer["timings_ms"]
    cut = answer["finish_reason"] == "length"
    return [
        f"from: {', '.join(sources) or 'nothing'}",
        f"{usage['prompt_tokens']} prompt tokens, {usage['cartridge_slots']} cartridge slots, "
        f"{timings['total']:.0f} ms",
        *answer["notices"],
        *(["The answer is cut; ask with a larger --max-tokens."] if cut else []),
    ]
