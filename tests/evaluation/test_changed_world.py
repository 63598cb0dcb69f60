"""Sheets that change: what is asked, and what has another answer now."""

from transformers import PreTrainedTokenizerFast

from evaluation.datasets.changed_world import load_changed
from reader.paths import bundled_reader


def test_some_facts_change_and_the_rest_stays() -> None:
    sheets = load_changed(5, sheets=3, changes=2)
    assert len({sheet.before.id for sheet in sheets}) == 3
    for sheet in sheets:
        became = {(a.before, a.after) for a in sheet.asked if a.changed}
        assert len(became) == 2
        text = sheet.before.text
        for before, after in became:
            assert text.count(before) == 1
            assert after not in sheet.before.text
            text = text.replace(before, after)
        assert text == sheet.after.text
        stays = [asked for asked in sheet.asked if not asked.changed]
        assert len(stays) > 5
        assert all(asked.before in sheet.after.text for asked in stays)
        assert sheet.before.title == sheet.after.title


def test_the_same_seed_gives_the_same_and_another_one_does_not() -> None:
    assert load_changed(5, sheets=2, changes=2) == load_changed(5, sheets=2, changes=2)
    assert load_changed(5, sheets=2, changes=2) != load_changed(6, sheets=2, changes=2)


def test_sheets_are_counted_as_they_are_told() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bundled_reader())
    for sheet in load_changed(7, sheets=2, changes=0):
        assert 340 <= len(tokenizer(sheet.before.text, add_special_tokens=False).input_ids) <= 460
        assert sheet.before.text == sheet.after.text
        assert not any(asked.changed for asked in sheet.asked)
