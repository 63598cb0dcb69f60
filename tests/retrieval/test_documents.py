import errno
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import durable
from retrieval.documents import DocumentLibrary, check_id
from retrieval.errors import DocumentCorrupt, DocumentNotFound, DocumentRefused, StorageFull


def test_the_same_content_again_is_the_same_version(library: DocumentLibrary) -> None:
    first, created = library.put("home", "boiler", "The boiler", "It is old.\r\n")
    assert created
    assert (first.version, first.text) == (1, "It is old.\n")
    assert library.put("home", "boiler", "The boiler", "It is old.\n") == (first, False)
    assert library.put("home", "boiler", None, "It is old.\n") == (first, False)
    assert library.get("home", "boiler") == first


def test_changed_content_is_the_next_version(library: DocumentLibrary) -> None:
    library.put("home", "boiler", "The boiler", "It is old.")
    second, created = library.put("home", "boiler", None, "It is new.")
    assert created
    assert (second.version, second.title) == (2, "The boiler")
    third, created = library.put("home", "boiler", "Heating", "It is new.")
    assert created
    assert third.version == 3
    assert third.sha256 == second.sha256


def test_a_derived_title_follows_the_text(library: DocumentLibrary) -> None:
    first, _ = library.put("home", "a", None, "# Old\n\nx")
    second, _ = library.put("home", "a", None, "# New\n\nx")
    assert (first.title, second.title) == ("Old", "New")
    assert library.put("home", "b", None, "y" * 100)[0].title == "b"


def test_ids_are_derived_from_content(library: DocumentLibrary) -> None:
    first, created = library.put("home", None, "Der Größte Chor!", "text")
    again, created_again = library.put("home", None, "Der Größte Chor!", "text")
    assert (created, created_again) == (True, False)
    assert first == again
    assert first.id == f"der-grote-chor-{first.sha256[:12]}"
    assert library.put("home", None, None, "水" * 100)[0].id.startswith("document-")


def test_listing_is_in_id_order_and_paged(library: DocumentLibrary) -> None:
    for id in ["b", "a", "a-b", "a.b", "c"]:
        library.put("home", id, None, f"text of {id}")
    assert library.ids("home") == ("a", "a-b", "a.b", "b", "c")
    assert [document.id for document in library.list("home", limit=2)] == ["a", "a-b"]
    assert [document.id for document in library.list("home", after="a-b")] == ["a.b", "b", "c"]
    assert library.list("nowhere") == ()
    pages = [[document.id for document in page] for page in library.pages("home", 2)]
    assert pages == [["a", "a-b"], ["a.b", "b"], ["c"]]
    assert [*library.pages("nowhere", 2)] == []
    assert library.count("home") == library.count() == 5


def test_deletion_is_final_and_versions_are_not_used_again(
    library: DocumentLibrary, tmp_path: Path
) -> None:
    library.put("home", "boiler", None, "secret words")
    library.put("home", "boiler", None, "secret words, again")
    assert library.delete("home", "boiler")
    assert not library.delete("home", "boiler")
    assert library.find("home", "boiler") is None
    assert not library.exists("home", "boiler")
    assert library.collections() == ()
    with pytest.raises(DocumentNotFound, match="boiler"):
        library.get("home", "boiler")
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert library.put("home", "boiler", None, "other")[0].version == 3
    assert library.collections() == ("home",)


@pytest.mark.parametrize("id", ["", "A", "-a", ".a", "a..b", "../a", "a/b", "a\n", "ä", "a" * 129])
def test_unsafe_ids_are_refused(library: DocumentLibrary, id: str) -> None:
    for attempt in (
        lambda: library.put("home", id, None, "x"),
        lambda: library.put(id, "a", None, "x"),
        lambda: library.find("home", id),
        lambda: library.find(id, "a"),
        lambda: library.delete("home", id),
        lambda: library.ids(id),
    ):
        with pytest.raises(DocumentRefused) as refused:
            attempt()
        assert refused.value.code == "bad_id"


@given(st.text(max_size=150))
def test_an_accepted_id_names_a_file_in_its_folder(id: str) -> None:
    try:
        check_id(id)
    except DocumentRefused:
        return
    assert (Path("/folder") / id).resolve().parent == Path("/folder")


@pytest.mark.parametrize(
    ("title", "text", "code"),
    [
        (None, "  \n", "empty"),
        (None, "a\x00b", "not_text"),
        (None, "a\ud800b", "not_text"),
        (None, "x" * 101, "too_large"),
        (None, "ü" * 51, "too_large"),
        ("t" * 301, "text", "bad_title"),
    ],
)
def test_refused_content_leaves_nothing(
    tmp_path: Path, title: str | None, text: str, code: str
) -> None:
    library = DocumentLibrary(tmp_path / "documents", max_bytes=100)
    with pytest.raises(DocumentRefused) as refused:
        library.put("home", "a", title, text)
    assert refused.value.code == code
    assert not (tmp_path / "documents").exists()


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73\u0f71"])
def test_endless_marks_are_refused_before_they_are_put_in_order(
    library: DocumentLibrary, marks: str
) -> None:
    """Python takes the square of a run's length for that: hours, for one of a million."""
    text = "a" + marks[0] * 300_000 + marks[1] * 300_000
    began = time.process_time()
    with pytest.raises(DocumentRefused, match="combining marks in a row"):
        library.put("default", "x", None, text)
    assert time.process_time() - began < 5
    library.put("default", "x", None, f"e{marks * 100} 水{'火' * 1000}")


def test_titles_move_no_cursor(library: DocumentLibrary) -> None:
    chosen, _ = library.put("default", "x", "a\x1b]2;pwned\x07\x1b[2J\x9bb", "A text.")
    derived, _ = library.put("default", "y", None, "# A\x1b[2J title\n\nA text.")
    plain, _ = library.put("default", "z", None, "A line\x9b2J\n\nA text.")
    for document in (chosen, derived, plain):
        assert document.title.isprintable()
    assert (chosen.title, derived.title) == ("a]2;pwned[2Jb", "A[2J title")


def test_a_heading_without_end_is_no_title_without_end(
    library: DocumentLibrary, tmp_path: Path
) -> None:
    document, _ = library.put("default", "x", None, "# " + "word " * 50_000)
    assert len(document.title) == 299
    # One that was stored before there was a limit.
    path = tmp_path / "documents" / "default" / "documents" / "x.json"
    fields = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(fields | {"title": "word " * 50_000}), "utf-8")
    assert library.get("default", "x") == document


def test_a_document_of_60_kb_is_stored(library: DocumentLibrary) -> None:
    text = "The boiler of the garden flat. " * 2000
    assert library.get("home", library.put("home", None, None, text)[0].id).text == text


def test_a_full_disk_keeps_the_old_version(
    library: DocumentLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = library.put("home", "a", None, "first")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", full)
        with pytest.raises(StorageFull, match="free disk space"):
            library.put("home", "a", None, "second")
    assert library.get("home", "a") == first
    assert [path.name for path in (tmp_path / "documents/home/documents").iterdir()] == ["a.json"]
    assert library.put("home", "a", None, "second")[0].version == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"first", b"fjrst"),
        lambda data: data[:-10],
        lambda data: b"[]",
        lambda data: data.replace(b'"id": "a"', b'"id": "b"'),
        lambda data: data.replace(b'"version": 2', b'"version": true'),
    ],
)
def test_damage_is_reported_and_can_be_repaired(
    library: DocumentLibrary, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    library.put("home", "a", None, "zero")
    library.put("home", "a", None, "first")
    library.put("home", "b", None, "other")
    path = tmp_path / "documents/home/documents/a.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DocumentCorrupt, match="damaged"):
        library.get("home", "a")
    assert [document.id for document in library.list("home")] == ["b"]
    repaired, created = library.put("home", "a", None, "first")
    assert created
    assert library.get("home", "a") == repaired


def test_a_damaged_document_does_not_give_its_version_away(
    library: DocumentLibrary, tmp_path: Path
) -> None:
    library.put("home", "a", None, "zero")
    library.put("home", "a", None, 'text with "version": 99 in it')
    path = tmp_path / "documents/home/documents/a.json"
    path.write_bytes(path.read_bytes().replace(b"text", b"test"))
    assert library.delete("home", "a")
    assert library.put("home", "a", None, "new")[0].version == 3


def test_the_file_is_plain_json(library: DocumentLibrary, tmp_path: Path) -> None:
    document, _ = library.put("home", "a", "T", "Zürich")
    fields = json.loads((tmp_path / "documents/home/documents/a.json").read_text("utf-8"))
    assert fields["text"] == "Zürich"
    assert fields["sha256"] == document.sha256


def test_threads_that_write_one_id_get_versions_of_their_own(library: DocumentLibrary) -> None:
    versions: list[int] = []

    def write(number: int) -> None:
        versions.append(library.put("home", "a", None, f"text {number}")[0].version)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 9))


def test_kill_9_loses_no_accepted_document(tmp_path: Path) -> None:
    root = tmp_path / "documents"
    program = f"""
from pathlib import Path
from retrieval.documents import DocumentLibrary
library = DocumentLibrary(Path({str(root)!r}))
while True:
    version = library.put("home", "a", None, f"text {{library.count()}}" * 20000)[0].version
    library.delete("home", "a")
    library.put("home", f"doc-{{version}}", None, "text " * 20000)
    print(version, flush=True)
"""
    accepted: set[str] = set()
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(0.1)
        writer.kill()
        printed, _ = writer.communicate()
        accepted |= {f"doc-{version}" for version in [first.strip(), *printed.split("\n")[:-1]]}
        library = DocumentLibrary(root)
        assert accepted <= set(library.ids("home"))
        for id in library.ids("home"):
            assert library.get("home", id).text.startswith("text ")
    assert len(accepted) > 3
