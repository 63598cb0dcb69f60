"""`cartridges ingest`: files go in, and their training is watched until it ends."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import Client, Url, connected
from app.cli.output import AsJson, CommandFailed, print_json
from app.cli.output import shown as printable
from app.cli.watching import outcome_of, watched
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
    wait: Annotated[
        bool,
        typer.Option(
            help="Watch their training until it ends; a service that runs goes on with it in any case."
        ),
    ] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add documents and train them; the service is started for as long as it takes, if need be."""
    named = dict(_files(paths))
    say: Callable[[str], None] = typer.echo if not as_json else lambda line: None
    if replace:
        _require_apart(named)
    with connected(Settings(), url, workers=None if wait else 0) as client:
        jobs, refused = {}, {}
        for path, name in named.items():
            try:
                sent = client.send_file(path, collection, name if replace else None)
                jobs[path] = sent["job"]
                say(
                    f"{printable(path)}: taken in as {sent['document']['id']}, and can be asked about"
                )
            except CommandFailed as error:  # the others are none the worse for it
                refused[path] = str(error)
                say(f"{printable(path)}: {error}")
        finished = jobs
        if client.passing and jobs and not wait:
            typer.echo("They are trained when a service runs: cartridges serve.", err=True)
        if wait:
            finished = _watched(client, jobs, say, shown=not as_json)
        documents = (
            [
                _document(client, collection, job)
                | {"file": printable(path), "outcome": outcome_of(job)}
                for path, job in finished.items()
            ]
            if as_json
            else []
        )
        documents += [{"file": printable(path), "outcome": why} for path, why in refused.items()]
    if as_json:
        print_json({"documents": documents})
    if refused or (wait and any(job["status"] != "succeeded" for job in finished.values())):
        raise typer.Exit(1)


def _watched(
    client: Client, jobs: dict[Path, dict[str, Any]], say: Callable[[str], None], *, shown: bool
) -> dict[Path, dict[str, Any]]:
    names = {path: printable(path.name) for path in jobs}
    return watched(
        client,
        names,
        jobs,
        shown=shown,
        ended=lambda path, job: say(f"{printable(path)}: {outcome_of(job)}"),
    )


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
