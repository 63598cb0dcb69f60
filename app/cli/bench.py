"""`cartridges bench`: what answering costs from a cartridge and from text, side by side."""

from typing import Annotated

import typer

from app.cli.output import AsJson, print_json
from app.settings import Settings


def bench(
    rounds: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Answer the same questions from a cartridge and from text, and compare."""
    from benchmarks.answering import measure
    from inference.reader import load_reader

    settings = Settings()
    reader = load_reader(settings.reader, device=settings.device, dtype=settings.dtype)
    result = measure(reader, rounds=rounds)
    if as_json:
        print_json(result)
        return
    typer.echo(f"{result['document_tokens']} tokens of text, {result['slots']} slots")
    for row in result["rows"]:
        typer.echo(
            f"{row['arm']:>10}: first token {row['first_token_ms']} ms, "
            f"answer {row['total_ms']} ms, {row['kv_bytes']} bytes of KV"
        )
    typer.echo(f"text over cartridge: {result['ratios_text_over_cartridge']}")
