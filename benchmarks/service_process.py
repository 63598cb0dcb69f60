"""The service as a process of its own, as a person starts it, for whoever attacks or measures it.

Knows its command and its processes; knows nothing of its inside.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# A recipe that trains in seconds: for what measures the service and not its answers.
QUICK: dict[str, Any] = {
    "conversations_per_token": 0.01,
    "min_conversations": 12,
    "held_out": 4,
    "rounds": 1,
    "min_steps": 4,
    "max_steps": 4,
}
_STOP_SECONDS = 60.0
_PREFIX = "CARTRIDGES_"


def begun_with(data: Path, other: Path, named: str = "*") -> None:
    """Give a service's folder `data` the documents of another one, with their indexes and studies.

    Of the collections that are `named` so and that it lacks; a collection's folder is there whole or not.
    """
    aside = data.with_name(f"{data.name}.tmp")
    # Documents too: a service forgets studies of documents that it does not have.
    for name in ("documents", "indexes", "studies"):
        for collection in sorted(path for path in (other / name).glob(named) if path.is_dir()):
            if not (mine := data / name / collection.name).exists():
                shutil.rmtree(aside, ignore_errors=True)
                shutil.copytree(collection, aside)
                mine.parent.mkdir(parents=True, exist_ok=True)
                aside.rename(mine)


def environment_of_nobody() -> dict[str, str]:
    """This process's variables but those that set up a service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}


@contextlib.contextmanager
def serving(
    data: Path, training: Mapping[str, Any], **settings: str
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`cartridges serve` on a data folder: its address and its process, until the block ends.

    `settings` are further ones, by name; all others are the service's defaults, whatever service this shell
    is set up for: not its reader, its Redis or its store. Raises RuntimeError when it does not start.
    """
    environment = environment_of_nobody() | {
        f"{_PREFIX}DATA": str(data),
        f"{_PREFIX}TRAINING": json.dumps(training),
        **{f"{_PREFIX}{name.upper()}": value for name, value in settings.items()},
    }
    log = data / "service.log"
    data.mkdir(parents=True, exist_ok=True)
    with (
        log.open("ab") as said,
        subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # one line of JSON once it serves
            if not line:
                last = log.read_text(encoding="utf-8", errors="replace")[-500:].strip()
                raise RuntimeError(f"The service did not start; the end of {log}: {last}")
            yield json.loads(line)["url"], process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def children(pid: int) -> list[tuple[int, str]]:
    """Direct children of a process, with their commands."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if entry.name.isdigit() and int(fields[1]) == pid:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append((int(entry.name), command))
    return found


def resident_bytes(pid: int) -> int:
    """What a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
