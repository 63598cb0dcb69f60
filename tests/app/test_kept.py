"""Kept values: read by one at a time, and again after a while."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.kept import Kept


def test_a_value_holds_for_a_while_and_what_was_is_given_to_who_reads_again() -> None:
    now = [0.0]
    kept = Kept[list[str]](lambda name, was: [*(was or []), name], lambda: now[0])
    assert kept.of("home") == ["home"]
    now[0] = 29.9
    assert kept.of("home") == ["home"]
    now[0] = 30.0
    assert kept.of("home") == ["home", "home"]
    assert kept.of("away") == ["away"]
    kept.forget("home")
    assert kept.of("home") == ["home"]


def test_while_one_reads_again_the_others_go_by_what_was() -> None:
    reading, go_on = threading.Event(), threading.Event()
    now, read = [0.0], []

    def slow(_: str, was: int | None) -> int:
        read.append(was)
        if was is not None:
            reading.set()
            assert go_on.wait(60)
        return len(read)

    kept = Kept[int](slow, lambda: now[0])
    assert kept.of("home") == 1
    now[0] = 31.0
    with ThreadPoolExecutor(1) as threads:
        slow_one = threads.submit(kept.of, "home")
        assert reading.wait(60)
        assert kept.of("home") == 1
        go_on.set()
        assert slow_one.result() == kept.of("home") == 2
    assert read == [None, 1]


def test_what_is_read_while_it_is_forgotten_is_not_kept() -> None:
    kept: Kept[str]
    values = iter(("stale", "new"))

    def read(name: str, _: str | None) -> str:
        value = next(values)
        if value == "stale":
            kept.forget(name)
        return value

    kept = Kept(read)
    assert kept.of("home") == "stale"
    assert kept.of("home") == "new"


def test_a_reading_that_fails_is_tried_again() -> None:
    values = iter((OSError("away"), 7))

    def read(*_: object) -> int:
        value = next(values)
        if isinstance(value, OSError):
            raise value
        return value

    kept = Kept[int](read)
    with pytest.raises(OSError, match="away"):
        kept.of("home")
    assert kept.of("home") == 7
