"""Logs: lines for a person, or JSON for a collector, each with its request's id.

Set up once by a process's command; libraries and tests are left alone. Knows no message.
"""

import logging
from typing import Literal


def set_up_logs(form: Literal["text", "json"], level: str) -> None:
    """Send every log of this process to stderr in this form."""
    from asgi_correlation_id import CorrelationIdFilter  # here: a command's help needs neither

    handler = logging.StreamHandler()
    handler.addFilter(CorrelationIdFilter(default_value="-"))
    handler.setFormatter(_FORMATTERS[form]())
    root = logging.getLogger()
    # Taken off and not closed, as dictConfig would: a library's handler may close stderr with itself.
    for before in root.handlers[:]:
        root.removeHandler(before)
    root.addHandler(handler)
    root.setLevel(level)
    # An audit is kept whatever the level; requests are many, so only where they are asked for.
    logging.getLogger("cartridges.audit").setLevel(logging.INFO)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)


def _text() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(correlation_id)s] %(message)s")


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
    )


_FORMATTERS = {"text": _text, "json": _json}
