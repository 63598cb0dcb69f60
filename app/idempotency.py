"""Idempotency keys: the same POST sent again gets the answer that it got the first time.

Keeps, for a day and in Redis, what was asked and what was answered under a key. Knows no route.
"""

import contextlib
import hashlib
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import redis
from pydantic import BaseModel

from app.problems import Problem

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=BaseModel)

_DAY_SECONDS = 24 * 3600
# A claim is renewed as long as its request is carried out, which may take minutes; of a server that died
# meanwhile it ends.
_PENDING_SECONDS = 120.0

# KEYS: key. ARGV: record of the request, milliseconds. Returns what is there already.
_CLAIM = """
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
# KEYS: key. ARGV: record of the request, milliseconds; with none it is released. Another's is left alone.
_HOLD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""


class IdempotencyKeys:
    """Keys of POST requests."""

    def __init__(
        self, client: redis.Redis, prefix: str = "cq:", pending_seconds: float = _PENDING_SECONDS
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._pending_ms = round(pending_seconds * 1e3)
        self._claim = client.register_script(_CLAIM)
        self._hold = client.register_script(_HOLD)

    def once(
        self,
        key: str | None,
        asked: Mapping[str, Any],
        model: type[Answer],
        do: Callable[[], Answer],
        kept: Callable[[Answer], Answer] = lambda answer: answer,
        holds: Callable[[Answer], bool] = lambda answer: True,
    ) -> Answer:
        """What `do` gives; sent again under the same key, what it gave then, as `kept` has it.

        An answer that does not hold any more is forgotten, and the request carried out.
        Raises `RedisError`, a problem, 422 when the key was used for another request and 409 while the
        first one is under way, and what `do` raises; a request that failed may be sent again.
        """
        if key is None:
            return do()
        digest = _digest(asked)  # once: a document's whole text may be in it
        mine = json.dumps({"asked": digest, "answer": None, "by": uuid.uuid4().hex})
        while (answered := self._claimed(key, digest, mine)) is not None:
            given = model.model_validate(json.loads(answered)["answer"])
            if holds(given):
                return given
            self._release(key, answered)
        try:
            with self._held(key, mine):
                answer = do()
        except BaseException:
            self._release(key, mine)
            raise
        try:
            self._keep(key, digest, kept(answer).model_dump(mode="json"))
        except redis.RedisError as error:
            # It is done all the same: sent again, it would be done again once the claim has run out.
            logger.warning("An answer was not kept for its Idempotency-Key: %s", error)
        return answer

    def _claimed(self, key: str, digest: str, mine: str) -> str | None:
        """None when the request is to be carried out, else the record of the answer that it once got."""
        held = self._claim(keys=[self._key(key)], args=[mine, self._pending_ms])
        if not held:
            return None
        record = json.loads(held)
        if record["asked"] != digest:
            raise Problem(
                422,
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request; choose a new one.",
            )
        if record["answer"] is None:
            raise Problem(
                409,
                "request-under-way",
                "The first request with this Idempotency-Key is under way; ask again in a moment.",
                headers={"Retry-After": "1"},
            )
        return str(held)

    @contextlib.contextmanager
    def _held(self, key: str, mine: str) -> Iterator[None]:
        """The claim does not run out within this block."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self._pending_ms / 3e3):
                with contextlib.suppress(redis.RedisError):  # it may answer the next time
                    self._hold(keys=[self._key(key)], args=[mine, self._pending_ms])

        # Nobody waits for its end: what it renews after that is no claim any more.
        threading.Thread(target=renew, name="idempotency", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _keep(self, key: str, digest: str, answer: Mapping[str, Any]) -> None:
        """Remember the answer for a day."""
        record = json.dumps({"asked": digest, "answer": answer})
        self._client.set(self._key(key), record, ex=_DAY_SECONDS)

    def _release(self, key: str, record: str) -> None:
        """Forget a claim whose request failed, or an answer that holds no more."""
        self._hold(keys=[self._key(key)], args=[record, 0])

    def _key(self, key: str) -> str:
        return f"{self._prefix}idempotency:{hashlib.sha256(key.encode()).hexdigest()}"


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
