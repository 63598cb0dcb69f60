"""How probable an answer must be: what the checks of a collection's cartridges promise, and keep."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.certainty import Certainty
from cartridge_store.errors import CartridgeNotFound
from training.pipeline import SURE, SURE_BESIDE

RIGHT = [0.4, 0.6, 0.8, *[0.9] * 16]  # nineteen right answers: three of twenty may be doubted


def manifest(alone: Any, beside: Any = None) -> Any:
    return SimpleNamespace(
        figures={SURE: alone} | ({} if beside is None else {SURE_BESIDE: beside})
    )


def mounted(id: str, alone: Any, beside: Any = None) -> Any:
    return SimpleNamespace(id=id, manifest=manifest(alone, beside))


@dataclass
class Shelf:
    """A store and a library: cartridge `x` is document x's. What is None is gone."""

    manifests: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ids(self, collection: str) -> tuple[str, ...]:
        assert collection == "home"
        return tuple(sorted(self.manifests))

    def current(self, collection: str, ids: Iterable[str]) -> dict[str, str]:
        return {id: id for id in ids}

    def manifest(self, id: str) -> Any:
        self.asked.append(id)
        if self.manifests[id] is None:
            raise CartridgeNotFound("It is gone.")
        return self.manifests[id]


def certainty(shelf: Shelf, doubt: float, now: list[float] | None = None) -> Certainty:
    read: Any = shelf
    return Certainty(read, read, doubt, (lambda: now[0]) if now else (lambda: 0.0))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True),
    st.floats(0.01, 0.99),
    st.data(),
)
def test_no_more_right_answers_are_doubted_than_may_be(
    sure: list[float], doubt: float, data: st.DataObject
) -> None:
    """Split conformal prediction: any of n + 1 like answers is as likely the one that is asked now."""
    doubted = 0
    for place, asked in enumerate(sure):
        others = sure[:place] + sure[place + 1 :]
        half = data.draw(st.integers(0, len(others)))
        known = certainty(Shelf({"other": manifest(others[:half])}), doubt)
        least = known.least("home", [mounted("own", others[half:])])
        doubted += least is not None and asked < least
    assert doubted <= doubt * len(sure) + 1e-6


def test_too_few_answers_say_nothing() -> None:
    assert certainty(Shelf(), 0.15).least("home", []) is None
    assert certainty(Shelf(), 0.15).least("home", [mounted("a", [0.9, 0.8])]) is None
    assert certainty(Shelf(), 0.15).least("home", [mounted("a", RIGHT)]) == 0.8
    assert certainty(Shelf(), 0.0).least("home", [mounted("a", RIGHT)]) is None


def test_a_collection_says_together_what_one_has_too_few_for() -> None:
    shelf = Shelf({"a": manifest([0.9, 0.8]), "b": manifest(RIGHT[:9]), "c": None})
    assert certainty(shelf, 0.15).least("home", [mounted("a", [0.9, 0.8])]) == 0.4
    # What is mounted counts once, whether or not it is in the sample.
    shelf = Shelf({"a": manifest(RIGHT)})
    assert certainty(shelf, 0.15).least("home", [mounted("a", RIGHT)]) == 0.8


def test_beside_others_it_is_another_matter() -> None:
    shelf = Shelf({"a": manifest([0.9] * 19, RIGHT), "b": manifest([0.9] * 19)})
    known = certainty(shelf, 0.15)
    a, b = mounted("a", [0.9] * 19, RIGHT), mounted("b", [0.9] * 19)
    assert known.least("home", [a]) == 0.9
    assert known.least("home", [a, b]) == 0.8  # b was never checked beside others


def test_what_was_read_holds_for_a_while_and_no_cartridge_is_read_twice() -> None:
    now = [0.0]
    shelf = Shelf({"a": manifest([0.9] * 19)})
    known = certainty(shelf, 0.15, now)
    own = [mounted("own", [0.9])]
    assert known.least("home", own) == 0.9
    shelf.manifests["b"] = manifest([0.2] * 19)
    assert known.least("home", own) == 0.9
    now[0] = 31.0
    assert known.least("home", own) == 0.2
    assert shelf.asked == ["a", "b"]


def test_of_many_documents_some_are_asked() -> None:
    shelf = Shelf({f"{n:04}": manifest([0.9]) for n in range(1000)})
    assert certainty(shelf, 0.15).least("home", [mounted("own", [0.9])]) == 0.9
    assert 32 < len(shelf.asked) <= 64


@pytest.mark.parametrize("figure", ["0.9", {"a": 1}, ["0.5", None, 7, -1, float("nan")], 3])
def test_what_another_trainer_wrote_is_not_believed(figure: Any) -> None:
    assert certainty(Shelf(), 0.9).least("home", [mounted("a", figure)]) is None
