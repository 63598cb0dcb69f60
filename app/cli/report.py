"""`cartridges report`: ways of answering compared over a collection, by your questions or a data set's."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import Client, Url, address, connected
from app.cli.output import AsJson, CommandFailed, print_json
from app.cli.watching import watched
from app.settings import Settings
from evaluation.datasets.questions import Dataset

_FORMS = {".html": "text/html", ".md": "text/markdown", ".json": "application/json"}


def report(
    collection: Annotated[str, typer.Argument(help="The documents to ask about.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            help='A file of lines such as {"question": "...", "answers": ["..."], "documents": ["id"]}, '
            "a folder of these as questions.jsonl and of documents/ to send first, or the file or folder "
            "of the data set."
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="What the questions are: own, or a data set whose documents are sent to the collection "
            "first: world, squad, fairytaleqa, qmsum, quality, longhealth, qasper, locomo, mtob."
        ),
    ] = "own",
    limit_documents: Annotated[
        int | None, typer.Option(min=1, help="A sample of so many documents.")
    ] = None,
    limit_questions: Annotated[
        int | None, typer.Option(min=1, help="A sample of so many questions.")
    ] = None,
    train: Annotated[
        bool,
        typer.Option(help="Train a data set's documents first; without it they are text alone."),
    ] = True,
    out: Annotated[
        Path, typer.Option(help="Where the report is written, as .html, .md or .json.")
    ] = Path("report.html"),
    arm: Annotated[
        list[str] | None, typer.Option(help="An arm to compare; several may be named.")
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Of sampling, and of the data set's sample; several may be named."),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
    concurrency: Annotated[
        int, typer.Option(min=0, max=64, help="Questions at once for throughput; 0 for none.")
    ] = 8,
    title: Annotated[str, typer.Option(help="What stands above it.")] = "",
    resume: Annotated[
        str | None,
        typer.Option(help="Wait for a report that was ordered before, by its id, and write it."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask every question by every arm, compare them and write the report."""
    from pydantic import ValidationError

    from app.schemas import ReportIn
    from evaluation.datasets.own import to_lines

    if out.suffix not in _FORMS:
        raise CommandFailed(f"{out} must end in .html, .md or .json.")
    _require_place(out)
    if resume is not None:
        if questions or arm or seed or title or dataset != "own":
            raise CommandFailed(
                "--resume waits for a report as it was ordered; name no other option."
            )
        with connected(Settings(), url) as client:
            _written(client, client.patient(address("jobs", resume)), out, as_json=as_json)
        return
    seeds = seed or [0]
    asked = _loaded(dataset, questions, limit_documents, limit_questions, seeds[0])
    body: dict[str, object] = {
        "collection": collection,
        "questions": to_lines(asked),
        "seeds": seeds,
        "temperature": temperature,
        "concurrency": concurrency,
    }
    if arm:
        body["arms"] = arm
    if title:
        body["title"] = title
    try:
        ReportIn.model_validate(body)  # before documents are sent and trained for nothing
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandFailed(f"{where}: {first['msg']}".lstrip(": ")) from error
    with connected(Settings(), url) as client:
        _send(client, collection, asked, train=train, shown=not as_json)
        job = client.request("POST", "/v1/reports", json=body)["job"]
        typer.echo(f"Report {job['id']} is ordered; --resume goes on waiting for it.", err=True)
        _written(client, job, out, as_json=as_json)


def _require_place(out: Path) -> None:
    if out.is_dir():
        raise CommandFailed(f"{out} is a folder; name a file in it.")
    if not out.parent.is_dir():
        raise CommandFailed(f"{out} cannot be written: there is no folder {out.parent}.")


def _written(client: Client, job: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Wait for a report and write it."""
    if job["kind"] != "report":
        raise CommandFailed(f"{job['id']} is no report's job.")
    ended = watched(client, {0: "report"}, {0: job}, shown=not as_json)[0]
    if ended["status"] != "succeeded":
        raise CommandFailed(ended["error"] or f"The report was {ended['status']}.")
    made = client.read(f"/v1/reports/{job['id']}", _FORMS[out.suffix])
    try:
        out.write_bytes(made)
    except OSError as error:
        raise CommandFailed(
            f"Report {job['id']} is made, and {out} cannot be written: {error.strerror}."
        ) from error
    if as_json:
        print_json({"report": job["id"], "written": str(out), **ended["result"]})
        return
    typer.echo(ended["result"]["lead"])
    typer.echo(f"Written to {out}.")


def _loaded(
    name: str, path: Path | None, documents: int | None, questions: int | None, seed: int
) -> Dataset:
    from evaluation.datasets.catalogue import load
    from evaluation.datasets.questions import DatasetRefused

    if path is None and name != "world":
        raise CommandFailed("Name the file of the questions with --questions.")
    try:
        return load(name, path, documents, questions, seed)
    except DatasetRefused as error:
        raise CommandFailed(str(error)) from error


def _send(client: Client, collection: str, dataset: Dataset, *, train: bool, shown: bool) -> None:
    """The data set's documents, each with its training awaited or cancelled."""
    jobs: dict[str, dict[str, Any]] = {}
    for document in dataset.documents:
        body = {
            "collection": collection,
            "id": document.id,
            "title": document.title[:300],
            "text": document.text,
        }
        job = client.request("POST", "/v1/documents", json=body)["job"]
        if train:
            jobs[document.id] = job
        elif job["status"] in ("queued", "running"):
            client.request("DELETE", f"/v1/jobs/{job['id']}")
    if jobs:
        ended = watched(client, {id: id for id in jobs}, jobs, shown=shown)
        failed = sum(not (job["result"] or {}).get("published") for job in ended.values())
        if failed:
            typer.echo(f"{failed} of {len(ended)} documents have no cartridge.", err=True)
