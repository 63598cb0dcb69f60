"""The report as pages: broken cartridges first, nothing runs, nothing is fetched, the same bytes again."""

import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation.report.as_json import from_json, to_json
from evaluation.report.files import publish
from evaluation.report.html import to_html
from evaluation.report.markdown import to_markdown
from evaluation.report.report import Report
from tests.evaluation.report_samples import DOCUMENTS, records, sample

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'`|$\\frac{1}{2}$ -->\x1b\x00"


class Page(HTMLParser):
    """Tags, attributes and the text of the first paragraph."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.first: str | None = None
        self._within = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "p" and self.first is None:
            self.first, self._within = "", True

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag != "p"

    def handle_data(self, data: str) -> None:
        if self._within:
            self.first = (self.first or "") + data


def first_paragraphs(report: Report) -> list[str]:
    page = to_markdown(report).split("\n\n")
    assert page[0].startswith("# ")
    return [Page(to_html(report)).first or "", page[1], json.loads(to_json(report))["lead"]]


def test_a_broken_cartridge_is_named_in_the_first_paragraph() -> None:
    report = sample(records(broken="boiler-manual"))
    assert [each.document for each in report.broken] == ["boiler-manual"]
    for paragraph in first_paragraphs(report):
        assert paragraph.startswith("The cartridge of document boiler-manual is broken: ")
    assert report.documents[0].document == "boiler-manual"
    assert report.worst[0].gold_documents == ("boiler-manual",)
    assert sample(records()).broken == ()
    assert "broken" not in sample(records()).lead


def test_a_refused_cartridge_is_named_with_the_services_words() -> None:
    notice = "The cartridge of document tram-line-9 was refused. Its bytes do not match."
    made = [
        replace(record, notices=(notice,))
        if (record.arm, record.gold_documents[0]) == ("cartridge", "tram-line-9")
        else record
        for record in records(seeds=[0])
    ]
    for paragraph in first_paragraphs(sample(made)):
        assert paragraph.startswith("The cartridge of document tram-line-9 is broken: 12 answers")
        assert "Its bytes do not match." in paragraph


def test_one_that_a_second_look_makes_up_for_is_named_all_the_same() -> None:
    """The arm that the report is about reads text where its cartridges are doubted."""
    whole = [record for record in records() if record.arm == "cartridge"]
    rescued = [replace(record, arm="cartridge-then-text") for record in whole]
    found = [*records(broken="boiler-manual"), *rescued]
    report = sample(found, cartridge_arm="cartridge-then-text", bare_arm="cartridge")
    for paragraph in first_paragraphs(report):
        assert paragraph.startswith("The cartridge of document boiler-manual is broken: ")
    assert report.cartridge_arm == "cartridge-then-text"
    assert sample(found, cartridge_arm="cartridge-then-text").broken == ()


def test_many_broken_cartridges_are_all_named() -> None:
    made = [
        replace(record, score=0.0 if record.arm == "cartridge" else 1.0)
        for record in records(arms=["cartridge", "rag"], seeds=[0])
    ]
    report = sample(made)
    assert len(report.broken) == 8
    for document in DOCUMENTS:
        assert document in report.lead
    assert report.without_broken is not None
    assert report.without_broken.questions == 0


def test_a_document_without_a_cartridge_is_named() -> None:
    notice = "Document museum-guide has no cartridge; its text was read."
    made = [replace(record, notices=(notice,)) for record in records(seeds=[0])[:12]]
    assert "Document museum-guide has no cartridge" in sample(made).lead


def test_no_text_of_others_becomes_markup() -> None:
    made = [
        replace(
            record,
            arm=f"{record.arm}{EVIL}",
            question=EVIL,
            answer=EVIL,
            golds=(EVIL,),
            gold_documents=(f"{record.gold_documents[0]}{EVIL}",),
            notices=(f"The cartridge of document {EVIL} was refused.",),
        )
        for record in records(seeds=[0], questions=4, arms=["cartridge", "rag"])
    ]
    report = sample(
        made,
        title=EVIL,
        dataset=EVIL,
        command=f"cartridges {EVIL} ````",
        cartridge_arm=f"cartridge{EVIL}",
        text_arm=f"rag{EVIL}",
        settings={EVIL: EVIL},
        versions={EVIL: EVIL},
        training={},
        throughput=(),
    )
    assert report.worst
    text = to_html(report)
    page = Page(text)
    assert not page.tags & {
        "script",
        "img",
        "iframe",
        "object",
        "link",
        "a",
        "image",
        "foreignObject",
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\x00" not in text
    assert "\x1b" not in text
    outside_code = to_markdown(report).split("`````sh")[0]
    assert not re.search(r"<(script|img)", outside_code)


def test_the_page_asks_for_nothing() -> None:
    text = to_html(sample(records()))
    page = Page(text)
    assert "default-src 'none'" in text
    assert not {"script", "img", "link", "base", "iframe"} & page.tags
    targets = [
        value or "" for name, value in page.attributes if name in ("src", "href", "xlink:href")
    ]
    assert targets
    assert all(target.startswith("#") for target in targets)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_tables_and_plots_can_be_read_aloud() -> None:
    text = to_html(sample(records()))
    assert "<th>" not in text
    assert re.findall(r"<th(?! scope=)[ >]", text) == []
    assert text.count('role="img" aria-label="') == 2
    assert "cartridge: 564 tokens and slots, score" in text
    assert text.count("<figcaption>") == 2


def test_the_same_records_make_the_same_bytes() -> None:
    made = records()
    shuffled = [*made, *made[:50]]
    random.Random(3).shuffle(shuffled)
    for write in (to_json, to_html, to_markdown):
        assert write(sample(made)) == write(sample(shuffled))


def test_json_holds_the_whole_report() -> None:
    for report in (sample(records(broken="boiler-manual")), sample([])):
        assert from_json(to_json(report)) == report
        json.loads(to_json(report), parse_constant=pytest.fail)


def test_nothing_answered_is_said() -> None:
    report = sample([])
    for paragraph in first_paragraphs(report):
        assert paragraph == "No question was answered, so nothing can be said."
    assert report.findings == ()


@pytest.mark.parametrize("arm", ["cartridge", "rag"])
def test_one_arm_is_compared_with_nothing(arm: str) -> None:
    report = sample(records(arms=[arm], seeds=[0]))
    assert report.differences == ()
    for paragraph in first_paragraphs(report):
        assert paragraph.startswith(f"Only {arm} was measured")


def test_unanswerable_questions_alone_make_a_report() -> None:
    made = [
        replace(record, gold_documents=(), sources=())
        for record in records()
        if record.kind == "unanswerable"
    ]
    report = sample(made)
    assert report.documents == ()
    assert all(arm.retrieval is None for arm in report.arms)
    assert any("without an answer" in sentence for sentence in report.findings)
    for write in (to_html, to_markdown):
        assert "not stated" in write(report)


def test_arms_with_other_questions_are_told_apart() -> None:
    made = [r for r in records(seeds=[0]) if r.arm != "rag" or not r.question_id.endswith("/01")]
    assert any("did not all answer the same questions" in each for each in sample(made).findings)


def test_the_frontier_holds_what_no_other_arm_beats() -> None:
    arms = {arm.name: arm for arm in sample(records()).arms}
    assert arms["closed-book"].on_frontier
    assert arms["icl"].on_frontier
    assert not arms["truncated"].on_frontier


def test_free_answers_have_the_scores_that_their_papers_report() -> None:
    plain = sample(records(seeds=[0]))
    assert "ROUGE-L" not in to_markdown(plain) + to_html(plain)
    scored = [
        replace(r, rouge_l=0.25, chrf=0.5) if r.kind == "free" and r.arm == "rag" else r
        for r in records(seeds=[0])
    ]
    report = sample(scored)
    rag, icl = (next(arm for arm in report.arms if arm.name == name) for name in ("rag", "icl"))
    assert rag.rouge_l is not None
    assert rag.chrf is not None
    assert (rag.rouge_l.mean, rag.chrf.mean) == (0.25, 0.5)
    assert icl.rouge_l is None
    for page in (to_markdown(report), to_html(report)):
        assert "ROUGE-L" in page
        assert "25.0" in page


def test_files_are_written_whole(tmp_path: Path) -> None:
    paths = publish(sample(records(seeds=[0])), tmp_path / "out")
    assert [path.name for path in paths] == ["report.html", "report.md", "report.json"]
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())


def test_arms_that_could_answer_nothing_make_a_report() -> None:
    nothing = [
        replace(record, score=0.0, prompt_tokens=0, cartridge_slots=0, sources=(), invalid=True)
        for record in records(arms=["cartridge", "rag"], seeds=[0])
    ]
    for write in (to_html, to_markdown):
        assert "rag" in write(sample(nothing))


def test_what_retrieval_misses_is_lost_by_the_cartridges_too() -> None:
    made = records(arms=["cartridge", "rag"], seeds=[0])
    made = [
        replace(record, score=0.0, sources=("another",)) if record.arm == "cartridge" else record
        for record in made
    ]
    report = sample(made)
    for row in report.documents:
        assert row.loss == pytest.approx(row.scores["rag"] - row.scores["cartridge"])
    losing = sum(row.scores["rag"] > 0 for row in report.documents)
    assert any(f"On {losing} of {len(DOCUMENTS)} documents" in each for each in report.findings)
    assert report.broken == ()


def test_one_mounted_document_is_half_of_two_that_are_needed() -> None:
    made = [
        replace(record, gold_documents=("a", "b"), sources=("a", "b"))
        for record in records(seeds=[0])
        if record.gold_documents
    ]
    said = next(each for each in sample(made).findings if "among the first ten" in each)
    assert "50.0 % as the first of a question" in said
    assert "100.0 % among the first ten" in said
