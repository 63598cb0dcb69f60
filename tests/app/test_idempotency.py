"""Idempotency keys alone: claims that last as long as their request, and answers that are kept."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from pydantic import BaseModel

from app.idempotency import IdempotencyKeys
from app.problems import Problem
from cartridge_store.embedded import EmbeddedRedis
from cartridge_store.registry import connect

ASKED = {"text": "The boiler is blue."}
SHORT = 0.3  # seconds that a claim holds


class Said(BaseModel):
    words: str


@pytest.fixture
def client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with connect(redis_server.url) as client:
        yield client


@pytest.fixture
def prefix(prefixes: Iterator[str]) -> str:
    return next(prefixes)


def once(client: Any, prefix: str, do: Any, **named: Any) -> Said:
    keys = IdempotencyKeys(client, prefix, pending_seconds=SHORT)
    return keys.once("key", ASKED, Said, do, **named)


def test_a_claim_holds_as_long_as_its_request_takes(client: redis.Redis, prefix: str) -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[Said] = []

    def slowly() -> Said:
        begun.set()
        assert go_on.wait(30)
        return Said(words="first")

    thread = threading.Thread(target=lambda: done.append(once(client, prefix, slowly)))
    thread.start()
    assert begun.wait(30)
    threading.Event().wait(3 * SHORT)
    with pytest.raises(Problem) as under_way:
        once(client, prefix, lambda: Said(words="second"))
    assert under_way.value.status == 409
    go_on.set()
    thread.join()
    assert done == [Said(words="first")]
    assert once(client, prefix, lambda: Said(words="second")) == Said(words="first")


def test_what_failed_lets_go_of_its_own_claim_alone(client: redis.Redis, prefix: str) -> None:
    def fails() -> Said:
        # The claim is gone, and another try has it now.
        client.delete(IdempotencyKeys(client, prefix)._key("key"))
        assert once(client, prefix, lambda: Said(words="another's")) == Said(words="another's")
        raise ValueError("It did not work.")

    with pytest.raises(ValueError, match="did not work"):
        once(client, prefix, fails)
    assert once(client, prefix, lambda: Said(words="a third")) == Said(words="another's")


def test_an_answer_that_holds_no_more_is_forgotten(client: redis.Redis, prefix: str) -> None:
    assert once(client, prefix, lambda: Said(words="first")) == Said(words="first")
    again = once(client, prefix, lambda: Said(words="second"), holds=lambda said: False)
    assert again == Said(words="second")


def test_a_server_that_died_blocks_its_key_for_a_while_only(
    client: redis.Redis, prefix: str
) -> None:
    keys = IdempotencyKeys(client, prefix, pending_seconds=SHORT)
    assert keys._claimed("key", "else", '{"asked": "else", "answer": null}') is None
    threading.Event().wait(2 * SHORT)
    assert once(client, prefix, lambda: Said(words="now")) == Said(words="now")
