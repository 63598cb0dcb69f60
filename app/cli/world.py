"""`cartridges world`: a collection of the bundled world with questions, for measuring with."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from app.cli.output import AsJson, CommandFailed, print_json

if TYPE_CHECKING:
    from reader.collection import Question


def world(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must be new or empty.")],
    documents: Annotated[int, typer.Option(min=1, help="How many documents.")] = 20,
    facts: Annotated[int, typer.Option(min=1, help="Facts a document (18 tokens each).")] = 20,
    questions: Annotated[int, typer.Option(min=0, help="Questions a document.")] = 10,
    group: Annotated[int, typer.Option(min=1, help="Documents that stand together.")] = 4,
    alike: Annotated[float, typer.Option(min=0, max=1, help="Share of look-alike facts.")] = 0.2,
    recurring: Annotated[float, typer.Option(min=0, max=1, help="Share of known persons.")] = 0.15,
    kinds: Annotated[str, typer.Option(help="Kinds of questions, separated by commas.")] = "",
    layouts: Annotated[str, typer.Option(help="Kinds of documents, separated by commas.")] = "",
    train: Annotated[bool, typer.Option(help="Draw from the training split.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same collection.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Generate documents (`documents/*.md`) and questions (`questions.jsonl`): see docs/world.md."""
    from reader.collection import CollectionPlan, draw_collection
    from reader.paths import word_list
    from reader.tokenizer import dictionary

    chosen = {
        name: tuple(part.strip() for part in text.split(",") if part.strip())
        for name, text in (("kinds", kinds), ("layouts", layouts))
        if text
    }
    try:
        plan = CollectionPlan(
            documents=documents,
            facts=facts,
            questions=questions,
            group=group,
            alike=alike,
            recurring=recurring,
            split="train" if train else "eval",
            seed=seed,
            **chosen,
        )
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CommandFailed(f"{out} exists and is not an empty folder; choose another.")
    folder = out / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    asked = 0
    groups = draw_collection(plan, dictionary(word_list()))
    count = -(-plan.documents // plan.group)
    with (out / "questions.jsonl").open("w", encoding="utf-8") as lines:
        for drawn, about in track(groups, "documents", total=count, disable=as_json):
            for document in drawn:
                (folder / f"{document.id}.md").write_text(document.text + "\n", encoding="utf-8")
            for question in about:
                lines.write(json.dumps(_line(question), ensure_ascii=False) + "\n")
            asked += len(about)
    (out / "plan.json").write_text(json.dumps(asdict(plan), indent=2) + "\n", encoding="utf-8")
    result = {"documents": plan.documents, "questions": asked, "folder": str(out)}
    if as_json:
        print_json(result)
    else:
        typer.echo(f"{plan.documents} documents and {asked} questions are in {out}.")


def _line(question: "Question") -> dict[str, Any]:
    """A question as `cartridges report` reads it; how it was drawn is a note."""
    return {
        "question": question.text,
        "answers": [] if question.value is None else [question.value],
        "documents": [*question.documents],
        "about": {"kind": question.kind, "answer": question.answer},
    }
