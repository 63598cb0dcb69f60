"""PDF and Word files over the API: what is answered from them says where it stands."""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.archive import export_collection, import_collection
from app.archive_file import ArchiveRefused, members, write_archive
from app.foundation import open_foundation
from app.settings import Settings
from app.storage import open_conflicts, open_library, open_retriever
from retrieval.errors import ParserUnavailable
from retrieval.marks import Mark
from tests.app.app_fakes import make_parts, make_settings
from tests.upload_files import make_docx, make_pdf

BOOK = make_pdf(
    [
        "The house book\nThe gate of the garden flat is painted green.",
        "Heating\nThe boiler of the garden flat was serviced by Franz Huber.",
    ],
    outline=[("Heating", 1)],
)


def letter(document: Any) -> None:
    document.add_heading("A letter", 0)
    document.add_paragraph("The gate is green.")
    document.add_heading("About the bees", 1)
    document.add_paragraph("The bees of the orchard belong to Anna Moser.")


LETTER = make_docx(letter)


def send(client: TestClient, name: str, data: bytes, **fields: str) -> Any:
    return client.post("/v1/documents", files={"file": (name, data)}, data=fields)


@pytest.mark.parametrize("charset", ["punycode", "undefined", "utf-7", "idna", '"utf-16"'])
def test_a_form_of_another_charset_is_refused_before_it_is_decoded(
    client: TestClient, charset: str
) -> None:
    field = 'Content-Disposition: form-data; name="title"\r\n\r\n2n7caa' + "a" * 50_000
    refused = client.post(
        "/v1/documents",
        content=f"--b\r\n{field}\r\n--b--\r\n",
        headers={"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"},
    )
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported-type")
    accepted = client.post(
        "/v1/documents",
        content=b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nA text.'
        b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b; charset=UTF-8"},
    )
    assert accepted.status_code == 202


def passages(client: TestClient, question: str) -> list[dict[str, Any]]:
    answer = client.post("/v1/answers", json={"question": question, "mode": "rag"})
    assert answer.status_code == 200, answer.text
    return [passage for source in answer.json()["sources"] for passage in source["passages"]]


def test_a_pdf_is_answered_from_with_its_pages(client: TestClient) -> None:
    accepted = send(client, "book.pdf", BOOK)
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["document"]["title"] == "The house book"
    found = passages(client, "Who serviced the boiler of the garden flat?")
    assert [(each["page"], each["section"]) for each in found] == [(2, "Heating")]
    long = make_pdf([f"Page of the {word}. " * 25 for word in ("boiler", "gate", "bees")])
    send(client, "long.pdf", long, id="long")
    best = passages(client, "bees bees bees")[0]
    # The passage begins with words that it shares with the one before, of the page before.
    assert best["text"].startswith("Page of the gate.")
    assert best["page"] == 3


def test_a_word_file_is_answered_from_with_its_sections(client: TestClient) -> None:
    assert send(client, "letter.docx", LETTER).status_code == 202
    body = {"id": "notes", "text": "# Gates\n\nThe gate is shut.\n" + "\nA word. " * 200}
    client.post("/v1/documents", json=body)
    found = passages(client, "Whom do the bees of the orchard belong to?")
    assert found[0]["section"] == "About the bees"
    assert {each["page"] for each in found} == {None}
    assert "Gates" in {each["section"] for each in passages(client, "Is the gate shut?")}


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("a.pdf", make_pdf(["x"], password="secret"), 422, "encrypted"),
        ("a.pdf", make_pdf([""]), 422, "no-text"),
        ("a.pdf", BOOK[:200], 422, "damaged"),
        ("a.docx", LETTER[:200], 422, "damaged"),
        ("a.pdf", make_pdf(["x"] * 2001), 413, "too-large"),
        ("a.docx", b"No zip file.", 415, "unsupported-type"),
        ("a.doc", b"\xd0\xcf\x11\xe0" * 200, 415, "unsupported-type"),
        ("scan.png", b"\x89PNG\r\n\x1a\n", 415, "unsupported-type"),
    ],
)
def test_refusals_have_a_status_and_a_sentence(
    client: TestClient, name: str, data: bytes, status: int, code: str
) -> None:
    response = send(client, name, data)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["detail"].endswith(".")
    assert response.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/documents").json()["documents"] == []


def test_the_text_of_a_file_has_the_limit_of_the_library(serve: Callable[..., Any]) -> None:
    data = make_pdf(["word " * 1000] * 20)
    with serve(max_upload_bytes=20_000) as client:
        assert len(data) < 20_000
        response = send(client, "a.pdf", data)
        assert (response.status_code, response.json()["code"]) == (413, "too-large")


def test_many_files_at_once_are_all_read(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda n: send(client, "b.pdf", BOOK, id=f"b{n}"), range(16)))
    assert {response.status_code for response in sent} == {202}


def test_the_same_file_again_is_the_same_version(client: TestClient) -> None:
    first = send(client, "book.pdf", BOOK, id="book").json()["document"]
    # The file, its text, and the file again: the pages stay, the version too.
    text = "The house book\nThe gate of the garden flat is painted green.\n\nHeating\nThe boiler"
    text += " of the garden flat was serviced by Franz Huber."
    body = {"id": "book", "title": first["title"], "text": text}
    again = client.post("/v1/documents", json=body).json()["document"]
    assert (again["version"], again["sha256"]) == (1, first["sha256"])
    assert passages(client, "Who serviced the boiler?")[0]["page"] == 2
    assert send(client, "book.pdf", BOOK, id="book").json()["document"]["version"] == 1


def test_a_title_that_somebody_chose_stays_with_the_same_file(client: TestClient) -> None:
    first = send(client, "book.pdf", BOOK, id="book", title="Our house").json()["document"]
    again = send(client, "book.pdf", BOOK, id="book").json()["document"]
    assert (again["title"], again["version"]) == ("Our house", 1) == (first["title"], 1)


def test_a_file_of_the_same_name_is_a_new_version_where_it_is_known_by_that(
    client: TestClient,
) -> None:
    def sent(name: str, rent: int, **fields: str) -> dict[str, Any]:
        data = f"# Rent\n\nThe rent of the garden flat is {rent} euros.".encode()
        response = send(client, name, data, **fields)
        assert response.status_code == 202, response.text
        return dict(response.json()["document"])

    by_name = {"known_by": "name"}
    first, second = sent("flats/garden.md", 700, **by_name), sent("flats/garden.md", 800, **by_name)
    assert (second["id"], second["version"]) == (first["id"], 2)
    assert (
        len({sent(name, 900, **by_name)["id"] for name in ("a.md", "b/a.md", "ä.md", "ö.md")}) == 4
    )
    assert sent("flats/garden.md", 700)["id"] != first["id"]  # by its content, as ever
    found = client.get("/v1/documents?limit=200").json()["documents"]
    assert sum(each["id"] == first["id"] for each in found) == 1


def test_an_archive_carries_pages_and_sections(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    send(client, "book.pdf", BOOK, id="book")
    base = open_foundation(settings, make_parts())
    other = open_library(make_settings(tmp_path / "other"))
    try:
        archive = tmp_path / "default.tar"
        export_collection("default", archive, base.library, base.store, base.noted)
        retriever = open_retriever(make_settings(tmp_path / "other"), make_parts().encoder(), other)
        import_collection(archive, None, other, base.store, base.noted, retriever, base.reader)
        marks = other.get("default", "book").marks
        assert marks == base.library.get("default", "book").marks
        assert [(mark.page, mark.section) for mark in marks] == [(1, None), (2, "Heating")]
    finally:
        base.close()


@pytest.mark.parametrize("marks", [None, "none", [{"start": -1, "page": None, "section": None}]])
def test_an_archive_of_before_marks_is_taken_and_one_with_wrong_marks_is_not(
    client: TestClient, settings: Settings, tmp_path: Path, marks: Any
) -> None:
    client.post("/v1/documents", json={"id": "notes", "text": "# Gates\n\nThe gate is shut."})
    base, there = open_foundation(settings, make_parts()), make_settings(tmp_path / "other")
    other, source, target = open_library(there), tmp_path / "a.tar", tmp_path / "b.tar"
    retriever = open_retriever(there, make_parts().encoder(), other)
    try:
        export_collection("default", source, base.library, base.store, base.noted)
        (_, listed), *rest = members(source)
        head = json.loads(listed)
        del head["documents"][0]["marks"]
        if marks is not None:
            head["documents"][0]["marks"] = marks
        write_archive(target, head, rest)
        if marks is None:
            import_collection(
                target, None, other, base.store, open_conflicts(there), retriever, base.reader
            )
            assert other.get("default", "notes").marks == (Mark(0, None, "Gates"),)
        else:
            with pytest.raises(ArchiveRefused):
                import_collection(
                    target, None, other, base.store, open_conflicts(there), retriever, base.reader
                )
            assert other.ids("default") == ()
    finally:
        base.close()


def test_a_parser_that_is_not_installed_is_said_at_the_start(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docling", None)
    with (
        pytest.raises(ParserUnavailable, match="CARTRIDGES_PARSER=builtin"),
        serve(parser="docling"),
    ):
        pass
