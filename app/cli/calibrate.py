"""`cartridges calibrate`: which questions a collection is for."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import Url, address, connected
from app.cli.output import AsJson, CommandFailed, print_json
from app.settings import Settings


def calibrate(
    collection: Annotated[str, typer.Argument(help="The collection.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            help="A file of questions that it answers, one a line as for a report; without one it is "
            "told what holds now."
        ),
    ] = None,
    forget: Annotated[
        bool, typer.Option(help="Go by the documents' self-studies again, not by questions given.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let mode auto refuse questions that fit a collection worse than those which it answers."""
    from app.schemas import MOST_QUESTIONS
    from evaluation.datasets.own import load_own
    from evaluation.datasets.questions import DatasetRefused
    from retrieval.sampling import spread

    if questions is not None and forget:
        raise CommandFailed("Name a file of questions, or --forget, not both.")
    body: dict[str, Any] | None = {"questions": []} if forget else None
    if questions is not None:
        try:
            asked = [each.text for each in load_own(questions).questions if each.golds]
        except DatasetRefused as error:
            raise CommandFailed(str(error)) from error
        if not asked:
            raise CommandFailed(f"{questions} has no question with an answer.")
        body = {"questions": list(spread(asked, MOST_QUESTIONS))}
    path = address("collections", collection, "relevance")
    with connected(Settings(), url, workers=0) as client:
        options = {} if body is None else {"json": body}
        known = client.request("PUT" if options else "GET", path, **options)
    if as_json:
        print_json(known)
        return
    named = {"studies": "its documents' self-studies", "questions": "given ones"}[known["source"]]
    least = known["least"]
    told = (
        "too few: nothing is refused"
        if least is None
        else f"a relevance of {least:.2f} is asked for"
    )
    typer.echo(f"{collection}: {known['questions']} questions, {named}; {told}.")
