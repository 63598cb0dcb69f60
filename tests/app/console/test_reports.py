"""Reports in the browser: ordered with questions of one's own, watched, read and saved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.console.pages import add

expect = pytest.importorskip("playwright.sync_api").expect

LINES = "\n".join(
    json.dumps(
        {
            "question": f"Who serviced the boiler ({number})?",
            "answers": ["1 cartridges and 0 texts"],
            "documents": ["flat"],
        }
    )
    for number in range(3)
)


def test_a_report_is_ordered_read_and_saved(
    page: Any, url: str, worker: Callable[..., Any], tmp_path: Path
) -> None:
    add(url, id="flat", title="The flat")
    with worker():
        page.goto(f"{url}#reports")
        page.get_by_label("Name of the report").fill("Flat <img src=x onerror=alert(1)>")
        page.get_by_label("Or from a file").set_input_files(
            {"name": "q.jsonl", "mimeType": "text/plain", "buffer": LINES.encode()}
        )
        expect(page.get_by_label("What to ask")).to_have_value(LINES)
        page.get_by_role("checkbox", name="The reader alone").uncheck()
        page.get_by_role("button", name="Compare them").click()
        card = page.locator(".report")
        expect(card.get_by_role("heading")).to_have_text("Flat <img src=x onerror=alert(1)>")
        expect(card.get_by_role("table")).to_be_visible(timeout=30_000)
    expect(card.locator(".answer")).not_to_be_empty()
    expect(card.get_by_role("row", name="oracle_cartridge")).to_contain_text("%")
    expect(card.get_by_role("row", name="no_context")).to_have_count(0)
    for name, start in (("HTML", "<!"), ("Markdown", "# "), ("JSON", "{")):
        with page.expect_download() as saved:
            card.get_by_role("button", name=f"as {name}").click()
        path = tmp_path / saved.value.suggested_filename
        saved.value.save_as(path)
        assert path.read_text("utf-8").lstrip().startswith(start), name
    page.reload()
    expect(page.locator(".report").get_by_role("table")).to_be_visible()


def test_pressing_twice_orders_one_report_which_can_be_deleted(page: Any, url: str) -> None:
    add(url, id="flat", title="The flat")
    page.goto(f"{url}#reports")
    page.get_by_label("What to ask").fill(LINES)
    button = page.get_by_role("button", name="Compare them")
    button.evaluate("button => { button.click(); button.click(); }")
    expect(page.locator(".report")).to_have_count(1)
    assert len(httpx.get(f"{url}v1/reports").json()["reports"]) == 1
    page.get_by_role("button", name="Delete the report").click()
    page.locator("#delete-dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".report")).to_have_count(0)
    assert httpx.get(f"{url}v1/reports").json()["reports"] == []


def test_older_reports_are_shown_when_asked_for(page: Any, url: str) -> None:
    add(url, id="flat")
    for number in range(5):
        order = {"questions": [{"question": "Who?"}], "title": f"Report {number}"}
        assert httpx.post(f"{url}v1/reports", json=order).status_code == 202
    short = "**/v1/reports?*"
    page.route(short, lambda route: route.continue_(url=f"{route.request.url}&limit=3"))
    page.goto(f"{url}#reports")
    expect(page.locator(".report")).to_have_count(3)
    page.get_by_role("button", name="Show older reports").click()
    expect(page.locator(".report")).to_have_count(5)
    expect(page.get_by_role("heading", name="Report 1", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name="Show older reports")).to_have_count(0)


def test_a_question_keeps_its_options_and_its_kind(page: Any, url: str) -> None:
    add(url, id="flat")
    page.goto(f"{url}#reports")
    choice = {"id": "q", "question": "Who?", "answers": ["Franz"], "options": ["Franz", "Mira"]}
    free = {"question": "Why?", "answers": ["frost"], "kind": "free", "documents": ["flat"]}
    lines = [choice | {"about": "a note"}, free]
    page.get_by_label("What to ask").fill("\n".join(map(json.dumps, lines)))
    with page.expect_request("**/v1/reports") as sent:
        page.get_by_role("button", name="Compare them").click()
    assert sent.value.post_data_json["questions"] == [choice, free]
    # Nobody works: its row stays, and says what it is about.
    expect(page.get_by_role("progressbar", name="Progress of the comparison")).to_be_visible()
    page.get_by_role("button", name="Cancel the comparison").click()
    expect(page.locator(".report")).to_contain_text("Cancelled.")


def test_what_is_no_question_is_said(open_page: Callable[..., Any], url: str) -> None:
    page = open_page(refused=(422,))
    add(url, id="flat")
    page.goto(f"{url}#reports")
    for text, words in (
        ("  \n ", "There is no question yet"),
        ("Who?\n{broken", "Line 2 is not JSON"),
        ('{"answers": []}', "Line 1 has no question"),
        ('{"question": "Who?", "answer": "Franz"}', 'Line 1 has no "answers"'),
        ('{"question": "Who?", "answers": ["Franz"], "gold": 1}', "gold"),
        ('[{"question": "Who?", "answers": []}]', "without brackets"),
    ):
        page.get_by_label("What to ask").fill(text)
        page.get_by_role("button", name="Compare them").click()
        expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_text("No report over this collection yet.")).to_be_visible()
