"""Where the services on a data folder can be reached: written by them, read by the commands."""

import json
import os
from pathlib import Path


def write_address(data: Path, url: str, node: str = "local") -> Path:
    """Say that this process serves the folder at `url`; returns the file that says so."""
    path = data / ("service.json" if node == "local" else f"service-{node}.json")
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps({"url": url, "pid": os.getpid()}), "utf-8")
    aside.replace(path)
    return path


def running_service(data: Path) -> str | None:
    """The address of a service on this folder, or None; it may have ended a moment ago."""
    found = (_running(path) for path in sorted(data.glob("service*.json")))
    return next((url for url in found if url is not None), None)


def _running(path: Path) -> str | None:
    try:
        record = json.loads(path.read_text("utf-8"))
        url, pid = record["url"], record["pid"]
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return url if isinstance(url, str) else None
