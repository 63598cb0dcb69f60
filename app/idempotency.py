"""Idempotency keys: the same POST sent again gets the answer that it got the first time.

Keeps, for a day and in Redis, what was asked and what was answered under a key. Knows no route.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import redis
from pydantic import BaseModel

from app.problems import Problem

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=BaseModel)

_DAY_SECONDS = 24 * 3600
# Long enough for the slowest request; a server that died meanwhile must not block its key.
_PENDING_SECONDS = 120

# KEYS: key. ARGV: record of the request, seconds. Returns what is there already.
_CLAIM = """
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""


class IdempotencyKeys:
    """Keys of POST requests; every method raises `RedisError`."""

    def __init__(self, client: redis.Redis, prefix: str = "cq:") -> None:
        self._client = client
        self._prefix = prefix
        self._claim = client.register_script(_CLAIM)

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
        Raises what `claim` and `do` raise; a request that failed may be sent again.
        """
        if key is None:
            return do()
        while (answered := self.claim(key, asked)) is not None:
            given = model.model_validate(answered)
            if holds(given):
                return given
            self.release(key)
        try:
            answer = do()
        except BaseException:
            self.release(key)
            raise
        try:
            self.keep(key, asked, kept(answer).model_dump(mode="json"))
        except redis.RedisError as error:
            # It is done all the same: sent again, it would be done again once the claim has run out.
            logger.warning("An answer was not kept for its Idempotency-Key: %s", error)
        return answer

    def claim(self, key: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """None when the request is to be carried out, else the answer that it once got.

        Raises a problem: 422 when the key was used for another request, 409 while the first one
        is under way.
        """
        mine = {"asked": _digest(asked), "answer": None}
        held = self._claim(keys=[self._key(key)], args=[json.dumps(mine), _PENDING_SECONDS])
        if not held:
            return None
        record = json.loads(held)
        if record["asked"] != mine["asked"]:
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
        return cast(dict[str, Any], record["answer"])

    def keep(self, key: str, asked: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Remember the answer for a day."""
        record = json.dumps({"asked": _digest(asked), "answer": answer})
        self._client.set(self._key(key), record, ex=_DAY_SECONDS)

    def release(self, key: str) -> None:
        """Forget a claim whose request failed."""
        self._client.delete(self._key(key))

    def _key(self, key: str) -> str:
        return f"{self._prefix}idempotency:{hashlib.sha256(key.encode()).hexdigest()}"


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
