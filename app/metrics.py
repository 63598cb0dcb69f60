"""Metrics: what a person would put an alert on, in Prometheus' words.

Counted where it happens, or looked up when it is asked for: the engine, the store and the jobs know how
they are. Every application has a registry of its own. Knows numbers; knows no route and no question.
"""

from collections.abc import Callable, Iterator
from typing import Any

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The application's registry and what is counted in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "cartridges_request_seconds",
            "Time to the end of a response, by route and status.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "cartridges_first_token_seconds",
            "Time from a question's arrival at the engine to its first token, by mode.",
            ("mode",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = Counter(
            "cartridges_answers",
            "Answers given, by mode and by whether they abstained.",
            ("mode", "abstained"),
            registry=self.registry,
        )
        self.broken = Counter(
            "cartridges_answers_broken",
            "Streamed answers that broke off after they had begun, by the problem's code.",
            ("code",),
            registry=self.registry,
        )
        self.tokens = Counter(
            "cartridges_tokens",
            "Tokens that answers read and wrote; slots stand for the text that was not read.",
            ("kind",),
            registry=self.registry,
        )
        self.sources = Counter(
            "cartridges_sources",
            "Documents that answers were made from, by whether their cartridge or their text was read.",
            ("via",),
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All of it in the exposition format."""
        return generate_latest(self.registry)


class Lookups(Collector):
    """Gauges that are read when Prometheus asks: engine, store, jobs."""

    def __init__(
        self,
        load: Callable[[], Any],
        reads: Callable[[], dict[str, int]],
        jobs: Callable[[], dict[str, float]],
        refused: Callable[[], int],
    ) -> None:
        self._load, self._reads, self._jobs, self._refused = load, reads, jobs, refused

    def collect(self) -> Iterator[Metric]:
        load = self._load()
        requests = GaugeMetricFamily(
            "cartridges_engine_requests", "Questions in the engine, by state.", labels=["state"]
        )
        pool = GaugeMetricFamily(
            "cartridges_pool_bytes", "Bytes of the engine's pool, by use.", labels=["use"]
        )
        for state in ("waiting", "loading", "running"):
            requests.add_metric([state], getattr(load, state))
        for use in ("pinned", "resident", "capacity"):
            pool.add_metric([use], getattr(load, f"{use}_bytes"))
        yield requests
        yield pool
        tiers = CounterMetricFamily(
            "cartridges_loads",
            "Cartridges that were needed, by where they were found; device: again, by the engine.",
            labels=["tier"],
        )
        tiers.add_metric(["device"], load.cartridges_found)
        reads = self._reads()
        for tier in ("host", "disk", "blobs"):
            tiers.add_metric([tier], reads.get(tier, 0))
        yield tiers
        yield CounterMetricFamily(
            "cartridges_refused_busy", "Questions refused because too many waited.", self._refused()
        )
        yield from self._of_jobs()

    def _of_jobs(self) -> Iterator[Metric]:
        try:
            found = self._jobs()
        except redis.RedisError:
            yield GaugeMetricFamily("cartridges_redis_up", "Whether Redis answers.", 0)
            return
        yield GaugeMetricFamily("cartridges_redis_up", "Whether Redis answers.", 1)
        depth = GaugeMetricFamily("cartridges_queue_depth", "Training jobs that wait for a worker.")
        depth.add_metric([], found.get("waiting", 0))
        yield depth
        checks = CounterMetricFamily(
            "cartridges_checks", "Held-out checks of trained cartridges.", labels=["outcome"]
        )
        for outcome in ("passed", "failed"):
            checks.add_metric([outcome], found.get(f"checks_{outcome}", 0))
        yield checks
        ended = CounterMetricFamily(
            "cartridges_jobs", "Training jobs that ended.", labels=["status"]
        )
        for status in ("succeeded", "failed", "cancelled"):
            ended.add_metric([status], found.get(f"jobs_{status}", 0))
        yield ended
        loss = GaugeMetricFamily(
            "cartridges_training_loss", "Last training loss of the cartridge trained last."
        )
        if "last_loss" in found:
            loss.add_metric([], found["last_loss"])
        yield loss
