"""Letters and registers: of about as many tokens, and much more to ask of a register."""

import re

from evaluation.datasets.mixed_world import load_mixed


def words(text: str) -> int:
    return 2 * len(re.findall(r"\w+", text))


def test_letters_and_registers_take_turns_and_every_question_has_its_document() -> None:
    drawn = load_mixed(3, sheets=4, stated=6, count=words)
    assert [each.id for each in drawn.documents] == [
        *("mixed-3-1-letter", "mixed-3-2-register", "mixed-3-3-letter", "mixed-3-4-register")
    ]
    texts = {each.id: each.text for each in drawn.documents}
    assert all(340 <= words(text) <= 560 for text in texts.values())
    for question in drawn.questions:
        (document,) = question.documents
        assert question.golds[-1] in texts[document]
    asked = [question.documents[0] for question in drawn.questions]
    assert {asked.count(id) for id in texts} == {6}
    registers = [text for id, text in texts.items() if id.endswith("register")]
    assert all(len(re.findall(r"\d+", text)) >= 20 for text in registers)
    assert load_mixed(3, sheets=4, stated=6, count=words) == drawn
    assert load_mixed(4, sheets=4, stated=6, count=words) != drawn


def test_nothing_in_a_register_is_named_elsewhere() -> None:
    drawn = load_mixed(5, sheets=6, stated=1, count=words)
    for each in drawn.documents:
        if each.id.endswith("register"):
            things = {re.split(r" / |,|;|\t", line)[0] for line in each.text.splitlines()[3:]}
            others = "".join(
                other.text for other in drawn.documents if other is not each
            ).casefold()
            assert things
            assert not [thing for thing in things if thing.casefold() in others]
