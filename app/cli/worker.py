"""`cartridges worker`: one worker process."""

import logging

from app.cli.output import AsJson, print_json
from app.settings import Settings


def worker(as_json: AsJson = False) -> None:
    """Train documents from the queue, one at a time, until Ctrl-C or SIGTERM.

    The queue is the one of the service on the data folder, or of CARTRIDGES_REDIS_URL.
    """
    from app.worker import run_worker

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    run_worker(Settings())
    if as_json:
        print_json({"stopped": True})
