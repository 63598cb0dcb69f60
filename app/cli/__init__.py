"""The command line: one function per command, each in its own file.

Commands that need a model import it when they run: `--help` must answer at once.
"""

import os
import sys

import typer

from app.cli.ask import ask
from app.cli.bench import bench
from app.cli.calibrate import calibrate
from app.cli.demo import demo
from app.cli.doctor import doctor
from app.cli.documents import documents
from app.cli.exchange import export, import_
from app.cli.ingest import ingest
from app.cli.keys import keys
from app.cli.output import explain
from app.cli.release import release
from app.cli.report import report
from app.cli.reproduce import reproduce
from app.cli.route import route
from app.cli.serve import serve
from app.cli.train import train
from app.cli.verify import verify
from app.cli.worker import worker
from app.cli.world import world
from app.settings import mistaken

cli = typer.Typer(
    name="cartridges",
    help="Answer questions over documents distilled into cartridges.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

# The one place where commands are added.
for _command in (
    *(
        serve,
        route,
        worker,
        ingest,
        ask,
        train,
        calibrate,
        release,
        report,
        export,
        verify,
        doctor,
        demo,
        reproduce,
        world,
    ),
):
    cli.command()(_command)
cli.command("import")(import_)


@cli.callback()
def _begin() -> None:
    for sentence in mistaken(os.environ):
        typer.echo(f"cartridges: {sentence}", err=True)


cli.add_typer(bench, name="bench")
cli.add_typer(documents, name="documents")
cli.add_typer(keys, name="keys")


def main() -> None:
    """Run a command; an error is one sentence on stderr and exit code 1, a wrong usage 2."""
    try:
        cli()
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        typer.echo(f"cartridges: {sentence}", err=True)
        sys.exit(1)
