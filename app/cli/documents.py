"""`cartridges documents`: what a collection holds, read back, trained anew, removed."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli.client import Client, Url, address, connected
from app.cli.output import AsJson, CommandFailed, print_json, shown
from app.cli.watching import outcome_of, watched
from app.settings import Settings
from retrieval.text import only_text

documents = typer.Typer(
    help="List, read, train and delete the documents of a collection.", no_args_is_help=True
)

Collection = Annotated[str, typer.Option(help="The collection.")]
Id = Annotated[str, typer.Argument(help="The document's id.")]


@documents.command("list")
def list_(collection: Collection = "default", url: Url = None, as_json: AsJson = False) -> None:
    """All documents of a collection, each with what answers for it."""
    with connected(Settings(), url, workers=0) as client:
        found = list(_all(client, collection))
    if as_json:
        print_json(found)
        return
    table = Table("id", "status", "version", "tokens", "title")
    for each in found:
        title = escape(only_text(shown(each["title"])))
        table.add_row(
            each["id"], each["status"], str(each["version"]), f"{each['tokens']:,}", title
        )
    Console().print(table)


@documents.command()
def text(document: Id, collection: Collection = "default", url: Url = None) -> None:
    """What was read out of a document, as it is searched, trained on and quoted."""
    with connected(Settings(), url, workers=0) as client:
        data = client.read(_path(document, "text"), "text/plain", params={"collection": collection})
    typer.echo(data, nl=not data.endswith(b"\n"))


@documents.command()
def train(
    document: Id, collection: Collection = "default", url: Url = None, as_json: AsJson = False
) -> None:
    """Train a document anew and wait until it is done."""
    with connected(Settings(), url) as client:
        accepted = client.request(
            "POST", _path(document, "train"), params={"collection": collection}
        )
        names = {document: document}
        job = watched(client, names, {document: accepted["job"]}, shown=not as_json)[document]
    if as_json:
        print_json(job)
    else:
        typer.echo(f"{document}: {outcome_of(job)}")
    if job["status"] != "succeeded":
        raise typer.Exit(1)


@documents.command()
def delete(
    document: Annotated[list[str], typer.Argument(help="The documents' ids.")],
    collection: Collection = "default",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Remove documents with everything that was made of them; there is no way back."""
    gone, left = [], {}
    with connected(Settings(), url, workers=0) as client:
        for id in document:
            try:
                client.delete(_path(id), params={"collection": collection})
                gone.append(id)
            except CommandFailed as error:  # the others go all the same
                left[id] = str(error)
    if as_json:
        print_json({"deleted": gone, "left": left})
    else:
        for id in gone:
            typer.echo(f"{id}: deleted")
        for id, why in left.items():
            typer.echo(f"{id}: {why}", err=True)
    if left:
        raise typer.Exit(1)


def _path(id: str, *rest: str) -> str:
    return address("documents", id, *rest)


def _all(client: Client, collection: str) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        params = {"collection": collection, "limit": 200} | ({"cursor": cursor} if cursor else {})
        page = client.request("GET", "/v1/documents", params=params)
        yield from page["documents"]
        if (cursor := page["next_cursor"]) is None:
            return
