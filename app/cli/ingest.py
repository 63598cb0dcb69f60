"""`cartridges ingest`: files go in, and their training is watched until it ends."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import Client, Url, connected
from app.cli.output import AsJson, CommandFailed, print_json, shown
from app.cli.watching import watched
from app.settings import Settings

_SUFFIXES = {".txt", ".md", ".markdown", ".html", ".htm", ".pdf", ".docx"}


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    collection: Annotated[str, typer.Option(help="Where they go.")] = "default",
    replace: Annotated[
        bool,
        typer.Option(
            help="A file is known by its name: sent again it is a new version, not another document."
        ),
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add documents and train them; the service is started for as long as it takes, if need be."""
    named = dict(_files(paths))
    if replace:
        _require_apart(named)
    files = [*named]
    with connected(Settings(), url) as client:
        jobs, refused = {}, {}
        for path in files:
            try:
                name = named[path] if replace else None
                jobs[path] = client.send_file(path, collection, name)["job"]
            except CommandFailed as error:  # the others are none the worse for it
                refused[path] = str(error)
        finished = watched(
            client, {path: shown(path.name) for path in jobs}, jobs, shown=not as_json
        )
        documents = [
            _document(client, collection, job) | {"file": shown(path), "outcome": _outcome(job)}
            for path, job in finished.items()
        ]
        documents += [{"file": shown(path), "outcome": why} for path, why in refused.items()]
    if as_json:
        print_json({"documents": documents})
    else:
        for document in documents:
            typer.echo(f"{document['file']}: {document['outcome']}")
    if refused or any(job["status"] != "succeeded" for job in finished.values()):
        raise typer.Exit(1)


def _require_apart(named: Mapping[Path, str]) -> None:
    first: dict[str, Path] = {}
    for path, name in named.items():
        if (other := first.setdefault(name, path)) is not path:
            raise CommandFailed(
                f"{other} and {path} would be versions of one document, {name}; "
                "name a folder that holds both."
            )


def _document(client: Client, collection: str, job: dict[str, Any]) -> dict[str, Any]:
    """The document of a job; no more than its id where it cannot be read: that is no other file's fault."""
    id = job["document_id"]
    try:
        return client.patient(f"/v1/documents/{id}", params={"collection": collection})
    except CommandFailed:
        return {"id": id, "collection": collection}


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Files, each with its name: below a folder that was named, the way to it."""
    for path in paths:
        if path.is_dir():
            found = sorted(
                each
                for each in path.rglob("*")
                if each.suffix.lower() in _SUFFIXES and each.is_file()
            )
            if not found:
                raise CommandFailed(f"{path} holds no .txt, .md, .html, .pdf or .docx file.")
            yield from ((each, each.relative_to(path).as_posix()) for each in found)
        elif path.is_file():
            yield path, path.name
        else:
            raise CommandFailed(f"There is no file {path}.")


def _outcome(job: dict[str, Any]) -> str:
    result = job["result"] or {}
    if result.get("published"):
        return "ready"
    if result.get("quarantined"):
        return f"held back. {result['reason']}"
    if job["status"] == "succeeded":
        return f"answered from its text. {result.get('reason', '')}".strip()
    return job["error"] or str(job["status"])
