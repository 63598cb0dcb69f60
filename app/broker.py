"""The queue between the API and the workers: dramatiq's Redis broker, JSON messages of one job id.

Knows job ids; does not know what a job does. Making a queue registers nothing globally.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage, Retries

QUEUE = "train"
MAX_RETRIES = 6  # about two minutes in all
# A worker that was killed is noticed after this long, and its message goes to another one.
_HEARTBEAT_MS = 5_000


def make_broker(
    url: str,
    *,
    namespace: str = "cq:dramatiq",
    retry_when: Callable[[int, BaseException], bool] | None = None,
    min_backoff_ms: int = 2_000,
) -> RedisBroker:
    """A broker on `redis://`, `rediss://` or `unix://`; nothing is sent yet.

    There is no time limit: training takes as long as it takes.
    """
    client = redis.Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)
    return RedisBroker(  # type: ignore[no-untyped-call]
        client=client,
        namespace=namespace,
        heartbeat_timeout=_HEARTBEAT_MS,
        # Every fetch looks for messages of dead workers: there are few, so looking is cheap.
        maintenance_chance=1_000_000,
        middleware=[
            Retries(retry_when=retry_when, min_backoff=min_backoff_ms, max_backoff=60_000),
            CurrentMessage(),
        ],
    )


class JobQueue:
    """Sends jobs to whichever worker is free."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker

    def send(self, job_id: str) -> None:
        """Put a job at the end of the queue. Raises `RedisError`."""
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=QUEUE, actor_name=QUEUE, args=(job_id,), kwargs={}, options={}
        )
        self._broker.enqueue(message)
        if self._broker.actors:
            return
        # dramatiq takes whoever sends for a worker. One that does not work is soon a dead one, whose
        # messages every worker's next fetch would look for among all keys of Redis.
        with suppress(redis.RedisError):
            name = f"{self._broker.namespace}:__heartbeats__"
            self._broker.client.zrem(name, self._broker.broker_id)

    def job_ids(self) -> set[str]:
        """The jobs that have a message: waiting, with a worker, or waiting for a retry."""
        prefix = f"{self._broker.namespace}:{QUEUE}"
        messages: list[bytes] = []
        for name in (f"{prefix}.msgs", f"{prefix}.DQ.msgs"):
            messages += cast(list[bytes], self._broker.client.hvals(name))
        return {job_id for message in messages for job_id in json.loads(message)["args"]}

    def depth(self) -> int:
        """Messages that no worker has taken yet."""
        waiting = (f"{QUEUE}", f"{QUEUE}.DQ")
        names = [f"{self._broker.namespace}:{name}" for name in waiting]
        return sum(cast(int, self._broker.client.llen(name)) for name in names)

    def close(self) -> None:
        """Close the connections."""
        self._broker.client.close()


def register(broker: RedisBroker, run: Callable[[str], None]) -> None:
    """Make `run(job_id)` what a worker of this broker does with a message."""
    dramatiq.actor(broker=broker, actor_name=QUEUE, queue_name=QUEUE)(run)


def current_retries() -> int:
    """How often the message that this thread works on was retried."""
    message = CurrentMessage.get_current_message()
    return int(message.options.get("retries", 0)) if message is not None else 0
