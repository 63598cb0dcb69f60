"""`cartridges release`: answer from a document in quarantine after all."""

from typing import Annotated

import typer

from app.cli.client import Url, address, connected
from app.cli.output import AsJson, print_json
from app.settings import Settings


def release(
    document: Annotated[str, typer.Argument(help="The document's id.")],
    collection: Annotated[str, typer.Option(help="The collection.")] = "default",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let a document in quarantine be found and trained, in spite of its conflicts."""
    with connected(Settings(), url, workers=0) as client:
        accepted = client.request(
            "POST", address("documents", document, "release"), params={"collection": collection}
        )
        later = " when a service runs" * client.passing
    if as_json:
        print_json(accepted)
    else:
        typer.echo(
            f"{document} is answered from again; job {accepted['job']['id']} trains it{later}."
        )
