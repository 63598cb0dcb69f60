"""What the connector counts, as vLLM's /metrics shows it. Knows numbers and vLLM's collectors."""

from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.metrics import (
    KVConnectorPromMetrics,
    KVConnectorStats,
)

COUNTED = {
    "mounts": "Requests whose cartridges were written to pages.",
    "columns_written": "Columns of cartridges and sinks written to pages.",
    "read": "Cartridges read from where they are kept.",
    "refused": "Requests refused by the scheduler.",
    "failed": "Requests that failed because a cartridge could not be loaded.",
}


class MountStats(KVConnectorStats):  # type: ignore[misc]
    """Counts of one step, or of several."""

    data: dict[str, Any]

    def count(self, name: str, more: int) -> None:
        """Add to one of `COUNTED`."""
        if more:
            self.data[name] = self.data.get(name, 0) + more

    def reset(self) -> None:
        self.data.clear()

    def aggregate(self, other: KVConnectorStats) -> KVConnectorStats:
        for name, more in other.data.items():
            self.count(name, more)
        return self

    def reduce(self) -> dict[str, int | float]:
        return dict(self.data)

    def is_empty(self) -> bool:
        return not self.data


class MountMetrics(KVConnectorPromMetrics):  # type: ignore[misc]
    """The counters `vllm:cartridges_*`, one for each engine."""

    def __init__(
        self,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> None:
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        self._counters = {
            name: self._counter_cls(
                name=f"vllm:cartridges_{name}", documentation=words, labelnames=labelnames
            )
            for name, words in COUNTED.items()
        }

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        labels = self.per_engine_labelvalues[engine_idx]
        for name, more in transfer_stats_data.items():
            self._counters[name].labels(*labels).inc(more)
