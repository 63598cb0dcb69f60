"""A collection as one file: it arrives whole on another machine, or nothing does."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from time import sleep as real_sleep
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app import archive_file, publishing
from app.archive import Imported, export_collection, import_collection
from app.archive_file import ArchiveRefused, cartridge_name, described
from app.cli import cli
from app.conflicts import Noted
from app.foundation import Foundation, open_foundation
from app.publishing import put_version
from app.settings import Settings
from app.storage import open_library, open_retriever, redis_at_hand
from cartridge_store.cartridge import Cartridge, tensors_sha256
from cartridge_store.errors import BeingPublished, StoreError
from cartridge_store.format import to_bytes
from cartridge_store.manifest import PositionRule, content_id
from inference.reader import Reader, load_reader
from retrieval.documents import Document
from retrieval.errors import DocumentNotFound, DocumentRefused
from retrieval.retriever import Retriever
from tests.app.app_fakes import FakeReader, make_parts, make_settings
from tests.models import write_tiny_model
from training.conflicts import Conflict

TEXTS = {"boiler": "The boiler was serviced by Franz Huber.", "gate": "The gate is größer: ✓."}


@pytest.fixture
def base(settings: Settings) -> Iterator[Foundation]:
    base = open_foundation(settings, make_parts())
    yield base
    base.close()


@pytest.fixture
def other(settings: Settings, tmp_path: Path, prefixes: Iterator[str]) -> Iterator[Foundation]:
    """Another machine: other folders, other keys."""
    changed = {"data": tmp_path / "other", "redis_prefix": next(prefixes)}
    base = open_foundation(settings.model_copy(update=changed), make_parts())
    yield base
    base.close()


@pytest.fixture
def archive(client: TestClient, trained: None, base: Foundation, tmp_path: Path) -> Path:
    target = tmp_path / "house.tar"
    told: list[float] = []
    assert export_collection(
        "house", target, base.library, base.store, base.noted, told.append
    ) == (2, 1)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert [path.name for path in tmp_path.iterdir() if ".tmp" in path.name] == []
    return target


@pytest.fixture
def trained(client: TestClient, worker: Callable[..., Any], wait_for: Callable[..., Any]) -> None:
    """A document with a cartridge and one without."""
    with worker():
        for id, text in TEXTS.items():
            body = {"collection": "house", "id": id, "text": text + " VAGUE" * (id == "gate")}
            wait_for(client, client.post("/v1/documents", json=body).json()["job"]["id"])


def take(archive: Path, other: Foundation, settings: Settings, name: str | None = None) -> Imported:
    retriever = open_retriever(settings, make_parts().encoder(), other.library)
    return import_collection(
        archive, name, other.library, other.store, other.noted, retriever, other.reader
    )


@pytest.mark.parametrize("name", [None, "elsewhere"])
def test_a_collection_arrives_whole(
    archive: Path, base: Foundation, other: Foundation, tmp_path: Path, name: str | None
) -> None:
    there = make_settings(tmp_path / "other")
    imported = take(archive, other, there, name)
    assert imported == Imported(name or "house", 2, 1, {})
    collection = imported.collection
    for id in TEXTS:
        here = base.library.get("house", id)
        found = other.library.get(collection, id)
        assert (found.text, found.title, found.sha256) == (here.text, here.title, here.sha256)
    before = base.store.load(base.store.current("house", ["boiler"])["boiler"])
    after = other.store.load(other.store.current(collection, ["boiler"])["boiler"])
    assert torch.equal(before.keys, after.keys)
    assert torch.equal(before.values, after.values)
    assert (before.id == after.id) == (name is None)
    assert other.store.current(collection, ["gate"]) == {}
    retriever = open_retriever(there, make_parts().encoder(), other.library)
    assert retriever.search(collection, "Who serviced the boiler?", 1)[0].document_id == "boiler"
    # Again is no change.
    assert take(archive, other, there, name) == imported
    assert other.store.current(collection, ["boiler"])["boiler"] == after.id


def test_what_comes_without_a_cartridge_is_queued(
    archive: Path,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prefixes: Any,
) -> None:
    monkeypatch.setattr("app.parts.Parts", make_parts)
    monkeypatch.setenv("CARTRIDGES_DATA", str(tmp_path / "running"))
    monkeypatch.setenv("CARTRIDGES_REDIS_URL", settings.redis_url or "")
    monkeypatch.setenv("CARTRIDGES_REDIS_PREFIX", next(prefixes))
    said = CliRunner().invoke(cli, ["import", str(archive), "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["queued"] == 1
    base = open_foundation(Settings(), make_parts())
    (job,) = base.jobs.last_of("house", [*TEXTS]).values()
    assert (job.status, job.subject is not None and job.subject.document_id) == ("queued", "gate")
    assert job.id in base.queue.job_ids()
    base.close()


def test_a_cartridge_of_another_reader_is_left_out(
    archive: Path, other: Foundation, settings: Settings, tmp_path: Path
) -> None:
    retriever = open_retriever(
        make_settings(tmp_path / "other"), make_parts().encoder(), other.library
    )
    reader: Any = FakeReader("another")
    imported = import_collection(
        archive, None, other.library, other.store, other.noted, retriever, reader
    )
    assert (imported.documents, imported.cartridges) == (2, 0)
    assert "another reader" in imported.left["boiler"]
    assert other.store.current("house", ["boiler"]) == {}


def rewritten(archive: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
    with tarfile.open(archive) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
    with tarfile.open(archive, "w") as tar:
        for name, data in members:
            for new, content in change(name, data):
                info = tarfile.TarInfo(new)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def head_with(**changes: Any) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    def change(name: str, data: bytes) -> list[tuple[str, bytes]]:
        if name == "archive.json":
            data = json.dumps(json.loads(data) | changes).encode()
        return [(name, data)]

    return change


DAMAGES: dict[str, Callable[[str, bytes], list[tuple[str, bytes]]]] = {
    "a flipped bit in a text": lambda n, d: [(n, flip(d) if n.startswith("texts/") else d)],
    "a flipped bit in a cartridge": lambda n, d: [(n, flip(d) if "cartridges/" in n else d)],
    "a missing member": lambda n, d: [] if n == "texts/gate.txt" else [(n, d)],
    "a member twice": lambda n, d: [(n, d)] * (2 if n == "texts/gate.txt" else 1),
    "a stranger": lambda n, d: [(n, d), *([("../x.txt", b"x")] if n == "archive.json" else [])],
    "no list": lambda n, d: [] if n == "archive.json" else [(n, d)],
    "a list that is none": lambda n, d: [(n, b"[]" if n == "archive.json" else d)],
    "another format": head_with(format=2),
    "a bad collection": head_with(collection="../up"),
    "no documents": head_with(documents=[], members={}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_changes_nothing(
    archive: Path, other: Foundation, tmp_path: Path, damage: str
) -> None:
    rewritten(archive, DAMAGES[damage])
    with pytest.raises(ArchiveRefused):
        take(archive, other, make_settings(tmp_path / "other"))
    assert other.library.count() == 0


def test_links_and_truncation_are_refused(archive: Path, other: Foundation, tmp_path: Path) -> None:
    there = make_settings(tmp_path / "other")
    whole = archive.read_bytes()
    archive.write_bytes(whole[:2_000])
    with pytest.raises(ArchiveRefused):
        take(archive, other, there)
    archive.write_bytes(b"no tar at all")
    with pytest.raises(ArchiveRefused, match="cannot be read as an archive"):
        take(archive, other, there)
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("archive.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ArchiveRefused, match="plain bytes"):
        take(archive, other, there)
    assert other.library.count() == 0


def test_an_empty_collection_and_a_document_that_changes_are_not_exported(
    client: TestClient, trained: None, base: Foundation, tmp_path: Path
) -> None:
    with pytest.raises(DocumentNotFound):
        export_collection("nothing", tmp_path / "x.tar", base.library, base.store, base.noted)

    def change(done: float) -> None:
        base.library.put("house", "gate", None, f"The gate is new {done}.")

    with pytest.raises(StoreError, match="changed meanwhile"):
        export_collection("house", tmp_path / "x.tar", base.library, base.store, base.noted, change)
    assert not (tmp_path / "x.tar").exists()


def version(id: str, parent: str | None = None, seed: int = 0) -> Cartridge:
    """A small cartridge of the collection `house`."""
    return Cartridge.create(
        torch.full((2, 1, 4, 8), float(seed)),
        torch.ones((2, 1, 4, 8)),
        collection="house",
        document_id=id,
        document_sha256="0" * 64,
        document_tokens=30,
        reader_fingerprint="1" * 64,
        tokenizer_fingerprint="2" * 64,
        position_rule=PositionRule("fixed", 400),
        initialiser="spread",
        recipe={},
        figures={},
        parent=parent,
    )


def test_what_the_library_would_refuse_is_refused_before_anything_changes(
    archive: Path, other: Foundation, settings: Settings, tmp_path: Path
) -> None:
    there = make_settings(tmp_path / "other", max_upload_bytes=38)
    library = open_library(there)
    with pytest.raises(DocumentRefused):
        import_collection(
            archive,
            None,
            library,
            other.store,
            other.noted,
            open_retriever(there, make_parts().encoder(), library),
            other.reader,
        )
    with pytest.raises(DocumentRefused):
        take(archive, other, there, "../up")
    assert library.count() == other.library.count() == 0


def test_a_damaged_cartridge_is_left_out_of_an_export(
    client: TestClient, trained: None, base: Foundation, settings: Settings, tmp_path: Path
) -> None:
    current = base.store.current("house", ["boiler"])["boiler"]
    path = settings.data / "cartridges" / f"{current}.safetensors"
    path.write_bytes(flip(path.read_bytes()))
    target = tmp_path / "house.tar"
    assert export_collection("house", target, base.library, base.store, base.noted) == (2, 0)


def test_a_publisher_waits_for_another_and_gives_up_in_the_end(
    base: Foundation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(parent: str | None) -> Cartridge:
        return version("boiler", parent)

    rival = version("boiler", seed=9)
    base.store._registry.claim(rival.manifest, None, 0.2)
    waits: list[float] = []
    monkeypatch.setattr(publishing.time, "sleep", lambda s: (waits.append(s), real_sleep(0.05)))
    assert put_version(base.store, make, "house", "boiler").cartridge_id == make(None).id
    assert waits
    base.store.remove_document("house", "boiler")
    base.store._registry.claim(rival.manifest, None, 60)
    monkeypatch.setattr(publishing, "_PATIENCE_SECONDS", 0.1)
    with pytest.raises(BeingPublished):
        put_version(base.store, make, "house", "boiler")


def test_a_cartridge_left_by_a_dead_trainer_goes_with_its_document(base: Foundation) -> None:
    base.library.put("house", "boiler", None, TEXTS["boiler"])
    base.library.delete("house", "boiler")
    for id in ("boiler", "unknown"):  # of the second one nobody ever said that it was deleted
        base.store.publish(version(id))
    base.reconciler.run()
    assert set(base.store.current("house", ["boiler", "unknown"])) == {"unknown"}


@pytest.fixture
def tiny(tmp_path: Path) -> Reader:
    return load_reader(write_tiny_model(tmp_path / "reader"))


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_the_commands_exchange_archives_and_adapters(
    tiny: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the embedded Redis of a data folder on which no service runs."""
    monkeypatch.setenv("CARTRIDGES_READER", str(tmp_path / "reader"))
    monkeypatch.setenv("CARTRIDGES_DATA", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    with redis_at_hand(Settings()) as named:
        base = open_foundation(named, make_parts(reader="unused"))
        document, _ = base.library.put("house", "boiler", "Boiler", TEXTS["boiler"])
        prefix = tiny.prefill_documents([document.text])
        keys, values = (torch.stack([layer[side][0] for layer in prefix]) for side in (0, 1))
        put_version(
            base.store,
            lambda parent: Cartridge.create(
                keys,
                values,
                collection="house",
                document_id="boiler",
                document_sha256=document.sha256,
                document_tokens=30,
                reader_fingerprint=tiny.fingerprint,
                tokenizer_fingerprint=tiny.tokenizer_fingerprint,
                position_rule=PositionRule("fixed", 1024),
                initialiser="spread",
                recipe={},
                figures={},
                parent=parent,
            ),
            "house",
            "boiler",
        )
        base.close()
    target, adapter = str(tmp_path / "house.tar"), str(tmp_path / "adapter")
    assert command("export", "house", target)[1]["cartridges"] == 1
    assert command("export", "house", adapter, "--peft", "boiler")[1]["cartridges"] == 1
    again = CliRunner().invoke(cli, ["export", "house", target])
    assert again.exit_code == 1
    assert "is there already" in str(again.exception)
    missing = CliRunner().invoke(cli, ["export", "house", adapter + "2", "--peft", "none"])
    assert "has no cartridge" in str(missing.exception)

    monkeypatch.setenv("CARTRIDGES_DATA", str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    _, imported = command("import", target)
    assert (imported["documents"], imported["cartridges"], imported["queued"]) == (1, 1, 0)
    nameless = CliRunner().invoke(cli, ["import", adapter])
    assert "--document" in str(nameless.exception)
    _, taken = command("import", adapter, "--collection", "house", "--document", "boiler")
    with redis_at_hand(Settings()) as named:
        base = open_foundation(named, make_parts(reader="unused"))
        current = base.store.current("house", ["boiler"])["boiler"]
        assert current == taken["cartridge_id"]
        served = base.store.load(current)
        assert served.manifest.initialiser == "imported"
        assert served.manifest.position_rule == PositionRule("fixed", 1024)
        torch.testing.assert_close(served.keys, keys.to(served.keys), atol=0.05, rtol=0.02)
        base.close()


def test_what_is_held_back_is_held_back_where_it_arrives(
    client: TestClient, trained: None, base: Foundation, other: Foundation, tmp_path: Path
) -> None:
    gate = base.library.get("house", "gate")
    found = Conflict("boiler", "Who serviced it?", "Franz Huber.", "Mira Tolen.")
    base.noted.note(gate, [found], held=True, there=lambda id: base.library.get("house", id).sha256)
    target = tmp_path / "house.tar"
    export_collection("house", target, base.library, base.store, base.noted)
    there = make_settings(tmp_path / "other")
    # An older version is searchable there.
    older, _ = other.library.put("house", "gate", None, "The gate is old.")
    open_retriever(there, make_parts().encoder(), other.library).index_document(older)
    take(target, other, there)
    arrived = other.library.get("house", "gate")
    assert other.noted.of(arrived) == Noted(gate.sha256, True, (found,))
    retriever = open_retriever(there, make_parts().encoder(), other.library)
    assert [each.document_id for each in retriever.search("house", "Gate?", 5)] == ["boiler"]
    # Who let it in here is not overruled.
    other.noted.release(arrived)
    take(target, other, there)
    assert not other.noted.holds(arrived)
    said = {"document": "boiler", "question": "Who \ud800?", "answer": "A.", "instead": "B."}
    for held in ("yes", [said]):
        rewritten(target, head_with(documents=[{"id": "gate", "held": held}]))
        with pytest.raises(ArchiveRefused):
            take(target, other, there)


def test_what_is_deleted_while_it_comes_in_leaves_nothing(
    archive: Path, other: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = make_settings(tmp_path / "other")
    index = Retriever.index_document

    def deleted(self: Retriever, document: Document) -> None:
        index(self, document)
        if document.id == "boiler":
            other.library.delete("house", "boiler")

    monkeypatch.setattr(Retriever, "index_document", deleted)
    take(archive, other, there)
    assert other.store.current("house", ["boiler"]) == {}
    assert other.store.documents() == set()
    retriever = open_retriever(there, make_parts().encoder(), other.library)
    index_of = retriever._index("house")
    assert [*index_of.documents()] == ["gate"]


@pytest.mark.parametrize("wrong", ["beyond", "no number"])
def test_a_cartridge_that_nobody_could_ask_is_left_or_refused(
    archive: Path, base: Foundation, other: Foundation, tmp_path: Path, wrong: str
) -> None:
    there, before = make_settings(tmp_path / "other"), base.store.current("house", ["boiler"])
    cartridge = base.store.load(before["boiler"])
    manifest = cartridge.manifest
    rule, keys = PositionRule("fixed", 2**40), cartridge.keys
    if wrong != "beyond":
        rule, keys = manifest.position_rule, keys.clone().fill_(float("nan"))
    digest = tensors_sha256(keys, cartridge.values)
    fields = manifest.to_dict() | {"position_rule": asdict(rule), "tensors_sha256": digest}
    made = replace(
        manifest,
        position_rule=rule,
        tensors_sha256=digest,
        cartridge_id=content_id(fields, tuple(keys.shape)),
    )
    bad = Cartridge(made, keys, cartridge.values)

    def change(name: str, data: bytes) -> list[tuple[str, bytes]]:
        if name == cartridge_name(cartridge.id):
            return [(cartridge_name(bad.id), to_bytes(bad))]
        if name == "archive.json":
            data = data.replace(cartridge.id.encode(), bad.id.encode())
            head = json.loads(data)
            head["members"][cartridge_name(bad.id)] = described(to_bytes(bad))
            data = json.dumps(head).encode()
        return [(name, data)]

    rewritten(archive, change)
    if wrong == "beyond":
        imported = take(archive, other, there)
        assert (imported.documents, imported.cartridges) == (2, 0)
        assert "beyond" in imported.left["boiler"]
    else:
        with pytest.raises(ArchiveRefused, match="NaN"):
            take(archive, other, there)
        assert other.library.count() == 0


def test_a_list_that_no_import_would_read_is_not_written(
    client: TestClient, trained: None, base: Foundation, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(archive_file, "_LARGEST_LIST", 200)
    with pytest.raises(StoreError, match="do not fit into one archive"):
        export_collection("house", tmp_path / "x.tar", base.library, base.store, base.noted)
    assert [*tmp_path.glob("*x.tar*")] == []


@pytest.mark.parametrize(
    "header",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"GNU.sparse.map": "a,b"},
        {"GNU.sparse.size": "z"},
    ],
)
def test_headers_that_tar_cannot_read_are_refused(
    other: Foundation, tmp_path: Path, header: dict[str, str]
) -> None:
    target = tmp_path / "x.tar"
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("archive.json")
        info.size, info.pax_headers = 600, header
        tar.addfile(info, io.BytesIO(b"x" * 600))
    with pytest.raises(ArchiveRefused):
        take(target, other, make_settings(tmp_path / "other"))
