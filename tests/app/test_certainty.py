"""How probable an answer must be: what the checks of a collection's cartridges promise, and keep."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.certainty import Certainty
from cartridge_store.errors import CartridgeNotFound, StoreError
from training.pipeline import SURE, SURE_BESIDE

RIGHT = [0.4, 0.6, 0.8, *[0.9] * 16]  # nineteen right answers: three of twenty may be doubted


def manifest(alone: Any, beside: Any = None, reader: str = "reader") -> Any:
    return SimpleNamespace(
        figures={SURE: alone} | ({} if beside is None else {SURE_BESIDE: beside}),
        reader_fingerprint=reader,
        tokenizer_fingerprint="tokenizer",
    )


def mounted(id: str, alone: Any, beside: Any = None) -> Any:
    return SimpleNamespace(id=id, manifest=manifest(alone, beside))


@dataclass
class Shelf:
    """A store, a library and a reader: cartridge `x` is document x's. What is None is gone."""

    manifests: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    untrained: int = 0
    fails: bool = False
    degraded: bool = False
    fingerprint: str = "reader"
    tokenizer_fingerprint: str = "tokenizer"

    def ids(self, collection: str) -> tuple[str, ...]:
        assert collection == "home"
        return tuple(sorted([*self.manifests, *(f"u{n:04}" for n in range(self.untrained))]))

    def current(self, collection: str, ids: Iterable[str]) -> dict[str, str]:
        if self.fails:
            raise StoreError("It is out of reach.")
        return {id: id for id in ids if id in self.manifests}

    def manifest(self, id: str) -> Any:
        self.asked.append(id)
        if self.manifests[id] is None:
            raise CartridgeNotFound("It is gone.")
        return self.manifests[id]


def certainty(shelf: Any, doubt: float, now: list[float] | None = None) -> Certainty:
    return Certainty(shelf, shelf, shelf, doubt, (lambda: now[0]) if now else (lambda: 0.0))


@given(
    st.lists(st.floats(1e-9, 1), min_size=1, max_size=60, unique=True),
    st.floats(0.01, 0.99),
    st.data(),
)
def test_as_many_right_answers_are_doubted_as_may_be(
    sure: list[float], doubt: float, data: st.DataObject
) -> None:
    """Split conformal prediction: any of n + 1 like answers is as likely the one that is asked now."""
    doubted = 0
    for place, asked in enumerate(sure):
        others = sure[:place] + sure[place + 1 :]
        half = data.draw(st.integers(0, max(0, len(others) - 1)))
        known = certainty(Shelf({"other": manifest(others[:half])}), doubt)
        least = known.least("home", [mounted("own", others[half:])])
        doubted += least is not None and asked < least
    assert doubted == int(doubt * len(sure) + 1e-9)


def test_too_few_answers_say_nothing() -> None:
    assert certainty(Shelf(), 0.15).least("home", []) is None
    assert certainty(Shelf(), 0.15).least("home", [mounted("a", [0.9, 0.8])]) is None
    assert certainty(Shelf(), 0.15).least("home", [mounted("a", RIGHT)]) == 0.8
    assert certainty(Shelf(), 0.0).least("home", [mounted("a", RIGHT)]) is None
    assert certainty(Shelf(), 0.15).least("home", [mounted("a", [0.0] * 19)]) is None


def test_a_collection_says_together_what_one_has_too_few_for() -> None:
    shelf = Shelf({"a": manifest([0.9, 0.8]), "b": manifest(RIGHT[:9]), "c": None})
    assert certainty(shelf, 0.15).least("home", [mounted("a", [0.9, 0.8])]) == 0.4
    # What is mounted counts once, whether or not it is in the sample.
    shelf = Shelf({"a": manifest(RIGHT)})
    assert certainty(shelf, 0.15).least("home", [mounted("a", RIGHT)]) == 0.8


def test_one_that_was_never_checked_is_not_held_to_the_others() -> None:
    known = certainty(Shelf({"a": manifest(RIGHT)}), 0.15)
    draft, own = mounted("draft", []), mounted("a", RIGHT)
    assert known.least("home", [draft]) is None
    assert known.least("home", [draft, own]) == 0.8


def test_beside_others_it_is_another_matter() -> None:
    sure = [0.9] * 19
    shelf = Shelf({"a": manifest(sure, RIGHT)})
    a, b = mounted("a", sure, RIGHT), mounted("b", sure)
    assert certainty(shelf, 0.15).least("home", [a]) == 0.9
    # b was never checked beside others: it counts by what it was alone.
    assert certainty(shelf, 0.07).least("home", [a, b]) == 0.6


def test_another_readers_cartridges_say_nothing() -> None:
    shelf = Shelf({"a": manifest([0.1] * 50, reader="another")})
    assert certainty(shelf, 0.15).least("home", [mounted("b", RIGHT)]) == 0.8


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
    del shelf.manifests["b"]
    now[0] = 62.0
    assert known.least("home", own) == 0.9


def test_an_answer_does_not_depend_on_a_store_that_is_out_of_reach() -> None:
    now = [0.0]
    shelf = Shelf({"a": manifest([0.9] * 19)}, fails=True)
    known = certainty(shelf, 0.15, now)
    own = [mounted("own", RIGHT)]
    assert known.least("home", own) == 0.8
    shelf.fails, now[0] = False, 31.0
    assert known.least("home", own) == 0.9
    # By what was read, and nothing is asked of a registry that does not answer.
    shelf.fails = shelf.degraded = True
    now[0] = 62.0
    assert known.least("home", own) == 0.9


def test_those_who_ask_while_it_is_read_first_wait_for_it() -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow(Shelf):
        def current(self, collection: str, ids: Iterable[str]) -> dict[str, str]:
            reading.set()
            assert go_on.wait(60)
            return super().current(collection, ids)

    known = certainty(Slow({"a": manifest([0.2] * 19)}), 0.15)
    own = [mounted("own", [0.9])]
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(known.least, "home", own)
        assert reading.wait(60)
        others = [threads.submit(known.least, "home", own) for _ in range(2)]
        go_on.set()
        assert [each.result() for each in (first, *others)] == [0.2] * 3


def test_of_many_documents_some_cartridges_are_asked() -> None:
    shelf = Shelf({f"{n:04}": manifest([0.9]) for n in range(1000)})
    assert certainty(shelf, 0.15).least("home", [mounted("own", [0.9])]) == 0.9
    assert 32 < len(shelf.asked) <= 64
    # Of those that there are, however few of the documents have one.
    few = Shelf({f"{n:04}": manifest([0.9]) for n in range(50)}, untrained=900)
    assert certainty(few, 0.15).least("home", [mounted("own", [0.9])]) == 0.9
    assert len(few.asked) == 50


@pytest.mark.parametrize(
    "figure", ["0.9", {"a": 1}, ["0.5", None, 7, -1, True, float("nan")], 3, [[0.9]] * 30]
)
def test_what_another_trainer_wrote_is_not_believed(figure: Any) -> None:
    assert certainty(Shelf(), 0.9).least("home", [mounted("a", figure)]) is None


def test_of_many_numbers_some_are_looked_at_from_the_least_to_the_most() -> None:
    many = [place / 1000 for place in range(1, 1001)]
    assert certainty(Shelf(), 0.1).least("home", [mounted("a", many)]) == pytest.approx(
        0.1, abs=0.01
    )
