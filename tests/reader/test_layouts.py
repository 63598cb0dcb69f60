"""Kinds of documents: every fact can be read from the text, and one kind is kept for evaluation."""

import re
from functools import cache
from random import Random

import pytest

from reader.facts import Fact
from reader.layouts import HELD_OUT, LAYOUTS
from reader.names import Split
from reader.paths import word_list
from reader.tokenizer import dictionary
from reader.world import Group


@cache
def words() -> tuple[str, ...]:
    return tuple(dictionary(word_list()))


def test_there_are_at_least_twelve_kinds_and_one_more_held_out() -> None:
    assert len(LAYOUTS) >= 12
    assert len(HELD_OUT) == 1
    assert not set(LAYOUTS) & set(HELD_OUT)


@pytest.mark.parametrize("layout", [*LAYOUTS, *HELD_OUT])
@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_kind_states_every_fact(layout: str, split: Split) -> None:
    for seed in range(8):
        sheet = Group(Random(seed), split, words()).sheet(14, layout)
        text = sheet.text.lower()
        assert sheet.text.startswith(f"# {sheet.title}\n\n")
        for fact in sheet.facts:
            assert fact.value.lower() in text
            assert fact.mention.lower() in text or fact.subject.lower() in text


def test_training_never_draws_the_held_out_kind() -> None:
    group = Group(Random(0), "train", words())
    chosen = {group._layout(None) for _ in range(600)}
    assert chosen == set(LAYOUTS.values())


def test_a_pronoun_stands_only_for_what_was_just_named() -> None:
    for seed in range(40):
        sheet = Group(Random(seed), "train", words()).sheet(12, "profile")
        for paragraph in sheet.text.split("\n\n")[1:]:
            # "It was Franz Huber who painted the gate." names both.
            assert not re.match(r"Its? (?!(was|is) [^.]* (who|that) )", paragraph)


def test_joined_facts_share_their_subject() -> None:
    fields = (("third", "weighs"), ("base", "weigh"))
    one = Fact("measure", "the crane", "the crane", "480 kg", fields)
    other = Fact("count", "the crane", "the crane", "12", (("N", "hooks"),))
    sentence = one.joined(other, Random(1), "eval")
    assert sentence.count("crane") == 1
    assert "480 kg" in sentence
    assert "12 hooks" in sentence
