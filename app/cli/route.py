"""`cartridges route`: one address for several replicas of the API."""

import signal
import threading
from typing import Annotated, Any

import typer

from app.cli.output import AsJson, print_json
from app.logs import set_up_logs
from app.settings import Settings


def route(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    search: Annotated[
        bool,
        typer.Option(
            help="Find a question's documents in the data folder; else route by what it names."
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Send every question to the replica that holds its cartridges, until Ctrl-C or SIGTERM.

    Replicas are services (`cartridges serve`) with the same CARTRIDGES_REDIS_URL as the router, each with
    a CARTRIDGES_NODE of its own.
    """
    from app.router.serving import routed

    chosen: dict[str, Any] = {"host": host, "port": port}
    settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
    set_up_logs(settings.log_format, settings.log_level)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with routed(settings, search=search) as url:
        if as_json:
            print_json({"url": url})
        else:
            typer.echo(f"Routing at {url}; stop with Ctrl-C.")
        ending.wait()
