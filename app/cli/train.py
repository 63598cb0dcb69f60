"""`cartridges train`: a collection is trained anew."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console

from app.cli.client import Url, address, connected
from app.cli.output import AsJson, print_json
from app.cli.watching import goes_on, stage_of
from app.settings import Settings

_SECONDS_BETWEEN_LOOKS = 0.5


def train(
    collection: Annotated[str, typer.Argument(help="The collection.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train all documents of a collection beside each other and wait until it is done."""
    with connected(Settings(), url) as client:
        job = client.request("POST", address("collections", collection, "train"))["job"]
        with goes_on(), Console(stderr=True, quiet=as_json).status("training") as status:
            while job["status"] in ("queued", "running"):
                status.update(f"{stage_of(job)}, {job['progress']:.0%}")
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                job = client.patient(f"/v1/jobs/{job['id']}")
    if as_json:
        print_json(job)
    else:
        typer.echo(job["error"] or f"{collection}: {_summary(job)}")
    if job["status"] != "succeeded":
        raise typer.Exit(1)


def _summary(job: dict[str, Any]) -> str:
    result = job["result"] or {}
    if job["status"] != "succeeded" or job["kind"] == "train":
        return str(result.get("reason", f"{job['stage']}."))
    lines = [f"{result['published']} cartridges published, {result['unpublished']} not."]
    lines += [
        f"  {name}: {document['reason']}"
        for name, document in result["documents"].items()
        if not document["published"]
    ]
    return "\n".join(lines)
