"""Twice thirty sheets as people write them: their questions have answers that stand in the text."""

import json
from pathlib import Path
from random import Random

import pytest

from reader.curriculum import CURRICULUM
from reader.paths import word_list
from reader.tasks import example
from reader.tokenizer import dictionary

_TESTS = Path(__file__).parents[1]
FOLDERS = (_TESTS / "handwritten", _TESTS / "handwritten_unseen")
SHEETS = sorted(sheet for folder in FOLDERS for sheet in folder.glob("*.md"))


def test_there_are_thirty_and_thirty() -> None:
    assert [len(list(folder.glob("*.md"))) for folder in FOLDERS] == [30, 30]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_question_is_answered_by_its_sheet(sheet: Path) -> None:
    text = sheet.read_text(encoding="utf-8").lower()
    questions = json.loads(sheet.with_suffix(".json").read_text(encoding="utf-8"))
    assert 5 <= len(questions) <= 10
    for question in questions:
        assert any(answer.lower() in text for answer in question["accepted"]), question


def test_none_of_their_sentences_is_trained_on() -> None:
    lines = {
        line.strip()
        for sheet in SHEETS
        for line in sheet.read_text(encoding="utf-8").splitlines()
        if len(line) > 30
    }
    words = dictionary(word_list())
    pool = ["Every worker closes its connection before the server stops."]
    recipes = [recipe.of_one_size(Random(0)) for stage in CURRICULUM for recipe in stage.recipes]
    drawn = "\n".join(
        segment.text
        for seed, recipe in enumerate(recipes * 3)
        for segment in example(Random(seed), recipe, words, "train", pool)
    )
    assert not [line for line in lines if line in drawn]
