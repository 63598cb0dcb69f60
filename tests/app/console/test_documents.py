"""Documents and collections in the browser: adding, training, cancelling, paging, deleting."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.conflicts import Conflicts
from app.settings import Settings
from retrieval.documents import DocumentLibrary
from tests.app.console.pages import FLAT, add, row, see
from training.conflicts import Conflict

expect = pytest.importorskip("playwright.sync_api").expect


def test_a_document_is_deleted_after_a_question(page: Any, url: str) -> None:
    add(url, id="flat", title="The flat")
    add(url, "Another text.", id="other", title="The other")
    page.goto(f"{url}#documents")
    row(page, "The flat").get_by_role("button").click()
    page.get_by_role("button", name="Keep it").click()
    expect(row(page, "The flat")).to_be_visible()
    row(page, "The flat").get_by_role("button").click()
    page.locator("#delete-dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "The flat")).to_have_count(0)
    expect(row(page, "The other")).to_be_visible()
    expect(page.get_by_role("heading", name="In this collection")).to_be_focused()
    assert httpx.get(f"{url}v1/documents/flat").status_code == 404


def test_a_list_that_is_read_again_keeps_the_buttons_that_are_pressed(page: Any, url: str) -> None:
    add(url, id="flat", title="The flat")
    page.goto(f"{url}#documents")
    button = row(page, "The flat").get_by_role("button")
    button.evaluate("button => { button.dataset.kept = 'yes'; }")
    add(url, id="flat", title="The old flat")
    page.evaluate("location.hash = '#collections'")
    page.evaluate("location.hash = '#documents'")
    expect(row(page, "The old flat").get_by_role("button")).to_have_attribute("data-kept", "yes")


def test_a_text_is_pasted_into_a_new_collection(page: Any, url: str) -> None:
    page.goto(f"{url}#documents")
    page.get_by_label("Into collection").fill("Not a name")
    page.get_by_label("Text", exact=True).fill(FLAT)
    page.get_by_role("button", name="Add text").click()
    assert httpx.get(f"{url}v1/collections").json()["collections"] == []
    page.get_by_label("Into collection").fill("house")
    page.get_by_label("Title").fill("The flat")
    page.get_by_role("button", name="Add text").click()
    expect(row(page, "The flat")).to_be_visible()
    expect(page.get_by_label("Text", exact=True)).to_have_value("")
    expect(page.locator("#list-collection")).to_have_value("house")


def test_files_that_come_while_others_are_sent_leave_the_usual_hint(page: Any, url: str) -> None:
    page.goto(f"{url}#documents")
    hint = page.locator("#files-hint")
    usual = hint.inner_text()
    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/documents*", hold)
    for name in ("a.txt", "b.txt"):
        text = {"name": name, "mimeType": "text/plain", "buffer": f"The page {name}.".encode()}
        page.get_by_label("Choose files").set_input_files(text)
        expect(hint).to_have_text(f"Sending 1 of 1: {name}")
    for route in held:
        route.continue_()
    expect(row(page, "The page b")).to_be_visible()
    expect(hint).to_have_text(usual)


def test_files_are_dropped_and_a_refused_one_is_named(
    open_page: Callable[..., Any], url: str
) -> None:
    page = open_page(refused=(422,))
    page.goto(f"{url}#documents")
    dropped = page.evaluate_handle(
        """() => {
            const dropped = new DataTransfer();
            dropped.items.add(new File(["A text of the garden."], "garden.txt"));
            dropped.items.add(new File(["%PDF-1.4"], "scan.pdf", { type: "application/pdf" }));
            return dropped;
        }"""
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": dropped})
    expect(page.locator("#drop")).to_have_class(re.compile("over"))
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    expect(row(page, "A text of the garden")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("scan.pdf: The file is damaged")
    page.get_by_role("button", name="Dismiss the message").click()
    expect(page.locator("#problem")).to_be_hidden()


def test_a_training_is_followed_after_loading_anew_and_cancelled(
    page: Any, url: str, worker: Callable[..., Any]
) -> None:
    with worker():
        add(url, f"ENDLESS {FLAT}", title="The flat")
        page.goto(f"{url}#documents")
        job = page.locator("#ingestion-list li")
        expect(job).to_contain_text("Distillation")
        page.reload()
        expect(job).to_contain_text("Distillation")
        page.get_by_role("button", name="Cancel the training of The flat").click()
        expect(job).to_contain_text("Cancelled.")
    expect(page.get_by_role("heading", name="Ingestion")).to_be_focused()
    expect(row(page, "The flat")).to_contain_text("Text")
    page.get_by_role("button", name="Clear finished").click()
    expect(page.locator("#ingestion")).to_be_hidden()


def test_a_failed_training_says_why(page: Any, url: str, worker: Callable[..., Any]) -> None:
    with worker():
        add(url, "VAGUE text.", title="The vague one")
        page.goto(f"{url}#documents")
        expect(row(page, "The vague one")).to_contain_text("Failed")
        expect(row(page, "The vague one")).to_contain_text("Too few held-out answers are right.")


def test_pages_are_turned(page: Any, url: str) -> None:
    for number in range(23):
        add(url, f"Text {number}.", id=f"d{number:02}", title=f"Title {number:02}")
    page.goto(f"{url}#documents")
    rows = page.locator("#documents-list tbody tr")
    expect(rows).to_have_count(20)
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_role("button", name="Next").click()
    expect(rows).to_have_count(3)
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    # The last page goes with its last document.
    for number in (20, 21, 22):
        row(page, f"Title {number}").get_by_role("button").click()
        page.locator("#delete-dialog").get_by_role("button", name="Delete").click()
        expect(row(page, f"Title {number}")).to_have_count(0)
    expect(rows).to_have_count(20)
    expect(page.locator("#pages")).to_be_hidden()


def test_a_collection_is_trained_together(page: Any, url: str, worker: Callable[..., Any]) -> None:
    for id, text in (("one", f"SLOW {FLAT}"), ("two", "UNTRAINABLE text."), ("three", FLAT)):
        add(url, text, id=id)
    page.goto(url)
    see(page, "Collections")
    card = page.locator(".collection")
    expect(card).to_contain_text("3 documents")
    with worker():
        page.get_by_role("button", name="Train all of default together").click()
        expect(card).to_contain_text(re.compile(r"Distillation|Starting|Waiting"))
        see(page, "Ask")
        see(page, "Collections")
        expect(card).to_contain_text(
            "2 cartridges published, 1 document left as before.", timeout=20_000
        )
    expect(card.locator("li").filter(has_text="two")).to_contain_text("cannot be trained on")
    expect(card.locator("li").filter(has_text="one")).to_contain_text("4 slots")


def test_a_document_in_quarantine_says_why_and_is_released(
    page: Any, url: str, settings: Settings
) -> None:
    add(url, id="choir", title="The choir")
    document = DocumentLibrary(settings.data / "documents").get("default", "choir")
    found = [Conflict("boiler", "Who serviced it?", "Franz Huber.", "Mira Tolen.")] * 2
    noted = Conflicts(settings.data / "conflicts")
    noted.note(document, found, held=True, there=lambda _: document.sha256)
    page.goto(f"{url}#documents")
    expect(row(page, "The choir")).to_contain_text("Quarantined")
    expect(row(page, "The choir")).to_contain_text(
        "Changes 2 answers of others. boiler: “Franz Huber.” becomes “Mira Tolen.”"
    )
    page.get_by_role("button", name="Release The choir").click()
    # Beside the job that it came with, which no worker has taken.
    expect(page.locator("#ingestion-list li").last).to_contain_text("The choir")
    expect(row(page, "The choir")).not_to_contain_text("Quarantined")
    expect(page.get_by_role("button", name="Release The choir")).to_have_count(0)
    expect(page.get_by_role("heading", name="In this collection")).to_be_focused()


def test_files_wait_where_a_key_has_sent_too_often(open_page: Callable[..., Any], url: str) -> None:
    page = open_page(refused=(429,))
    page.goto(f"{url}#documents")
    posts: list[str] = []

    def refuse(route: Any) -> None:
        if route.request.method != "POST" or len(posts) % 2:
            posts.append("taken")
            route.continue_()
            return
        posts.append("refused")
        body = '{"detail": "Too many requests.", "code": "too-many-requests"}'
        headers = {"Retry-After": "1", "Content-Type": "application/problem+json"}
        route.fulfill(status=429, headers=headers, body=body)

    page.route("**/v1/documents", refuse)
    names = [f"{letter}.txt" for letter in "ab"]
    page.get_by_label("Choose files").set_input_files(
        [
            {"name": name, "mimeType": "text/plain", "buffer": f"The page {name}.".encode()}
            for name in names
        ]
    )
    for letter in "ab":
        expect(row(page, f"The page {letter}")).to_be_visible(timeout=15_000)
    assert "refused" in posts
    assert len(httpx.get(f"{url}v1/documents").json()["documents"]) == 2


def test_many_refusals_are_told_in_a_few_sentences(open_page: Callable[..., Any], url: str) -> None:
    page = open_page(refused=(422,))
    page.goto(f"{url}#documents")
    files = [
        {"name": f"bad{number}.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 broken"}
        for number in range(7)
    ]
    page.get_by_label("Choose files").set_input_files(files)
    expect(page.get_by_text("And 4 other files like these.")).to_be_visible()


def test_what_failed_is_tried_again(page: Any, url: str, worker: Callable[..., Any]) -> None:
    with worker():
        page.goto(f"{url}#documents")
        page.get_by_label("Text", exact=True).fill("It is UNTRAINABLE.")
        page.get_by_role("button", name="Add text").click()
        again = page.locator("#ingestion-list").get_by_role("button", name="again")
        expect(again).to_be_visible(timeout=15_000)
        first = httpx.get(f"{url}v1/jobs").json()["jobs"][0]["id"]
        again.click()
        expect(page.locator("#ingestion-list li")).to_have_count(1)
        expect(again).to_be_visible(timeout=15_000)
        assert httpx.get(f"{url}v1/jobs").json()["jobs"][0]["id"] != first


def test_two_pages_that_watch_many_jobs_leave_each_other_room(page: Any, url: str) -> None:
    for number in range(4):
        add(url, f"It is {number}.", id=f"d{number}")
    other = page.context.new_page()
    for each in (page, other):
        each.goto(f"{url}#documents")
        expect(each.locator("#ingestion-list li")).to_have_count(4)
    # A browser has six connections to a server: streams of two pages would hold them all.
    for each in (page, other):
        status = each.evaluate("fetch('v1/collections').then((response) => response.status)")
        assert status == 200


def test_another_key_sees_nothing_of_the_last_ones(open_page: Callable[..., Any], url: str) -> None:
    page = open_page(refused=(401,))
    add(url, id="flat", title="The flat")
    page.goto(f"{url}#documents")
    expect(row(page, "The flat")).to_be_visible()
    expect(page.locator("#ingestion-list li")).to_have_count(1)
    page.route(
        "**/v1/**", lambda route: route.fulfill(status=401, body='{"detail": "A key is needed."}')
    )
    page.evaluate("sessionStorage.setItem('cartridges-api-key', 'old')")
    page.locator("#key-open").click()
    page.locator("#key-forget").click()
    expect(row(page, "The flat")).to_have_count(0)
    expect(page.locator("#ingestion-list li")).to_have_count(0)
