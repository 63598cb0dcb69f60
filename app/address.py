"""Where the service on a data folder can be reached: written by it, read by the commands."""

import json
import os
from pathlib import Path

_FILE = "service.json"


def write_address(data: Path, url: str) -> Path:
    """Say that this process serves the folder at `url`; returns the file that says so."""
    path = data / _FILE
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps({"url": url, "pid": os.getpid()}), "utf-8")
    aside.replace(path)
    return path


def running_service(data: Path) -> str | None:
    """The address of the service on this folder, or None; it may have ended a moment ago."""
    try:
        record = json.loads((data / _FILE).read_text("utf-8"))
        url, pid = record["url"], record["pid"]
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return url if isinstance(url, str) else None
