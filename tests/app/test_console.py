"""The console as files over HTTP: which there are, how they are sent, and that nothing else is.

What they do in a browser is in the folder console.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import app
from app.keys import key_hash

FOLDER = Path(str(app.__file__)).parent / "console"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def address(name: str) -> str:
    return "/" if name == "index.html" else f"/console/{name}"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_every_file_of_the_folder_is_served_as_what_it_is(client: TestClient, name: str) -> None:
    response = client.get(address(name))
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["content-type"] == TYPES[Path(name).suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"
    assert client.head(address(name)).headers["etag"] == response.headers["etag"]


def test_the_policy_allows_nothing_but_the_service_itself(client: TestClient) -> None:
    policy = dict(
        part.strip().split(" ", 1)
        for part in client.get("/").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src", "connect-src", "img-src"):
        assert policy[kind] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy)


def test_a_known_version_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/").headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = client.get("/", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/index.html",
        "/console/none.js",
        "/console/APP.JS",
        "/console/..%2fmain.py",
        "/console/%2e%2e/main.py",
        "/console/..%5cmain.py",
        "/console/%2fetc%2fpasswd",
        "/console/app.js%00",
        "/console//app.js",
        "/app/console/app.js",
        "/app.js",
    ],
)
def test_no_other_name_is_there(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_it_takes_no_other_method(client: TestClient) -> None:
    refused = client.post("/")
    assert refused.status_code == 405
    assert sorted(refused.headers["Allow"].split(", ")) == ["GET", "HEAD"]  # of a set
    assert client.delete("/console/app.js").status_code == 405


def test_it_is_public_and_no_part_of_the_schema(serve: Callable[..., Any]) -> None:
    with serve(api_keys=(key_hash("one"),)) as client:
        assert client.get("/").status_code == 200
        assert client.get("/console/app.js").status_code == 200
        assert client.get("/v1/collections").status_code == 401
        paths = client.get("/openapi.json").json()["paths"]
    assert [path for path in paths if not path.startswith(("/v1/", "/health/", "/metrics"))] == []


def test_the_page_holds_no_code_no_style_and_nothing_from_elsewhere() -> None:
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    for path in FOLDER.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|url\(", text), path.name


def test_text_is_never_made_into_markup() -> None:
    made = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(")
    for path in FOLDER.glob("*.js"):
        assert not made.search(path.read_text()), path.name


def test_files_are_small() -> None:
    for path in FOLDER.iterdir():
        assert len(path.read_text().splitlines()) < 300, path.name
