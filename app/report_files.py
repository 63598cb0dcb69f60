"""Reports on disk: what was asked for, the records so far, and the report in three forms.

One folder each under `data/reports/<collection>`, named by its job. Everything is written whole or not at
all. Knows files; knows no arm and no score.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.documents import check_id
from retrieval.durable import make_folder, replace_file
from retrieval.errors import DocumentRefused

FORMS = {"application/json": "json", "text/markdown": "md", "text/html": "html"}
_ID = re.compile(r"r[0-9a-f]{31}")


@dataclass(frozen=True)
class ReportFolder:
    """One report's folder."""

    id: str
    path: Path

    @property
    def runs(self) -> Path:
        """Where the records lie, in a folder for each state of the collection that was asked."""
        return self.path / "runs"

    def request(self) -> dict[str, Any]:
        """What was asked for."""
        found: dict[str, Any] = json.loads((self.path / "request.json").read_text("utf-8"))
        # What an order of an earlier version did not say.
        usual = {"seeds": [found.pop("seed", 0)], "temperature": 0.0, "concurrency": 0}
        return usual | found

    @property
    def collection(self) -> str:
        """The collection that it is over."""
        return self.path.parent.name

    @property
    def place(self) -> str:
        """Where it stands among its collection's reports: those ordered later have a larger one."""
        return f"{(self.path / 'request.json').stat().st_mtime_ns:020d}-{self.id}"

    @property
    def finished(self) -> bool:
        """Whether the report is made."""
        return (self.path / "report.json").is_file()

    def form(self, media_type: str) -> bytes | None:
        """The finished report in one of its forms; None while it is not finished."""
        try:
            return (self.path / f"report.{FORMS[media_type]}").read_bytes()
        except FileNotFoundError:
            return None

    @property
    def ordered(self) -> bool:
        """Whether somebody wants the report still."""
        return (self.path / "request.json").exists()

    def follow_order(self) -> None:
        """Remove what was written since the order was removed: whoever was at work had not heard of it."""
        if not self.ordered:
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):  # other reports are there
                self.path.parent.rmdir()

    def finish(self, forms: dict[str, str]) -> None:
        """Keep the report in all its forms, by media type; JSON last, which says that it is finished."""
        for media_type in sorted(forms, key=lambda name: name == "application/json"):
            text = forms[media_type]
            replace_file(self.path / f"report.{FORMS[media_type]}", text.encode("utf-8"))


class ReportFiles:
    """All reports of a data folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def forget_made(self, collection: str, document_id: str) -> None:
        """Delete the cartridges that reports made for themselves of a document, alone or with others."""
        for made in (self._root / check_id(collection)).glob("*/runs/*/cartridges"):
            shutil.rmtree(made / "monolithic", ignore_errors=True)
            for name in ("monolithic", f"compaction-{check_id(document_id)}"):
                for suffix in (".safetensors", ".refused"):
                    (made / f"{name}{suffix}").unlink(missing_ok=True)

    def create(self, id: str, request: dict[str, Any]) -> ReportFolder:
        """A folder for a new report over the request's collection. Raises StorageFull."""
        folder = ReportFolder(id, self._root / check_id(request["collection"]) / id)
        make_folder(folder.path)
        replace_file(folder.path / "request.json", json.dumps(request, indent=1).encode())
        return folder

    def find(self, id: str) -> ReportFolder | None:
        """The report of this id, or None; an id that cannot be one is none."""
        if not _ID.fullmatch(id) or not self._root.is_dir():
            return None
        return next(
            (
                ReportFolder(id, path / id)
                for path in self._root.iterdir()
                if (path / id / "request.json").is_file()
            ),
            None,
        )

    def of_collection(self, collection: str) -> Iterator[ReportFolder]:
        """The reports over a collection, newest first."""
        folder = self._root / check_id(collection)
        if not folder.is_dir():
            return
        found = [path for path in folder.iterdir() if _ID.fullmatch(path.name)]
        placed: list[tuple[str, ReportFolder]] = []
        for path in found:
            with suppress(FileNotFoundError):  # deleted, perhaps just now
                each = ReportFolder(path.name, path)
                placed.append((each.place, each))
        yield from (each for _, each in sorted(placed, key=lambda pair: pair[0], reverse=True))

    def unfinished(self) -> Iterator[ReportFolder]:
        """Every report that was ordered and is not made."""
        for path in sorted(self._root.glob("*")):
            with suppress(DocumentRefused):  # whatever else lies there is no collection's
                yield from (each for each in self.of_collection(path.name) if not each.finished)

    def remove(self, folder: ReportFolder) -> None:
        """Remove a report with its answers; whoever is at work on it finds its order gone."""
        (folder.path / "request.json").unlink(missing_ok=True)
        folder.follow_order()

    def drop(self, collection: str) -> list[str]:
        """Remove all reports over a collection; returns their ids."""
        folder = self._root / check_id(collection)
        if not folder.is_dir():
            return []
        ids = [path.name for path in folder.iterdir() if _ID.fullmatch(path.name)]
        shutil.rmtree(folder, ignore_errors=True)
        return ids
