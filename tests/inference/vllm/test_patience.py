"""Reads of a store that hangs: given up in time, gone on with, found when they end."""

import threading
import time
from collections.abc import Iterator

import pytest

from cartridge_store.errors import CartridgeNotFound, StoreUnavailable
from inference.vllm.patience import Patience


class Store:
    """Reads of names that begin with "slow" wait for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[str] = []

    def read(self, name: str) -> str:
        self.asked.append(name)
        if name.startswith("slow"):
            assert self.gate.wait(30)
        if name == "nothing":
            raise CartridgeNotFound("There is no blob nothing.")
        return name.upper()


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.gate.set()


def test_what_is_read_in_time_is_given_and_what_fails_says_so(store: Store) -> None:
    patience = Patience(store.read, 30.0)
    assert patience.begin()
    assert patience.get("one") == patience.get("one") == "ONE"
    assert store.asked == ["one", "one"]  # it remembers nothing
    with pytest.raises(CartridgeNotFound):
        patience.get("nothing")
    assert patience.begin()


def test_a_read_that_hangs_is_given_up_and_found_when_it_ends(store: Store) -> None:
    patience = Patience(store.read, 0.01)
    assert patience.begin()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="slow one was not read in time"):
            patience.get("slow one")
    assert not patience.begin()  # something hangs, and others are read all the same
    assert patience.get("another") == "ANOTHER"
    store.gate.set()
    for _ in range(3_000):
        try:
            patience.begin()
            found = patience.get("slow one")
            break
        except StoreUnavailable:
            time.sleep(0.01)
    assert found == "SLOW ONE"
    assert (
        store.asked.count("slow one") <= 2
    )  # at most once more, by whoever came when it had ended


def test_while_one_hangs_nobody_else_waits_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.vllm.patience._HANGING_SECONDS", 0.01)
    patience = Patience(store.read, 0.01)
    patience.begin()
    with pytest.raises(StoreUnavailable):
        patience.get("slow one")
    monkeypatch.setattr(patience, "_seconds", 3_600.0)
    assert not patience.begin()
    with pytest.raises(StoreUnavailable, match="slow two"):  # not in an hour
        patience.get("slow two")
