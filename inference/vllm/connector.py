"""The KV connector: compositions of cartridges become columns of vLLM's paged cache.

`vllm serve --kv-transfer-config` names it by `kv_connector_module_path`; it is made once beside the
scheduler and once in every worker. This file knows vLLM's interface; what is mounted is decided in
`scheduling`, and made in `mounting`.
"""

import logging
import os
from typing import Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import (
    KVConnectorPromMetrics,
    KVConnectorStats,
)

from cartridge_store.catalogue import Catalogue
from inference.vllm.card import ReaderCard
from inference.vllm.metrics import MountMetrics, MountStats
from inference.vllm.options import Options
from inference.vllm.scheduling import Scheduling, Step
from inference.vllm.writing import Writing

logger = logging.getLogger(__name__)


class StepMetadata(KVConnectorMetadata):  # type: ignore[misc]
    """What the scheduler sends to the workers for one step."""

    def __init__(self, step: Step) -> None:
        self.step = step


class CartridgeConnector(KVConnectorBase_V1):  # type: ignore[misc]
    """Mounts the cartridges that a request names in `kv_transfer_params`."""

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        """Raises ValueError for a server that cannot serve cartridges."""
        super().__init__(vllm_config, role, kv_cache_config)
        transfer = vllm_config.kv_transfer_config
        _require_servable(vllm_config)
        options = Options.of(transfer.kv_connector_extra_config, os.environ)
        card = ReaderCard.load(options.card)
        self._scheduling: Scheduling | None = None
        self._writing: Writing | None = None
        if role == KVConnectorRole.SCHEDULER:
            self._scheduling = Scheduling(card, Catalogue(options.blobs()).manifest, options.most)
        else:
            self._writing = Writing(vllm_config, card, options.blobs(), options.host_bytes)

    @property
    def requires_kv_delivery(self) -> bool:
        """Nothing is handed on when a request ends."""
        return False

    # The scheduler's side.

    def on_new_request(self, request: Any) -> None:
        self._of_scheduler.arrive(request)

    def get_num_new_matched_tokens(
        self, request: Any, num_computed_tokens: int
    ) -> tuple[int | None, bool]:
        return self._of_scheduler.missing(request, num_computed_tokens), False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        (ids, *_) = blocks.get_block_ids()
        self._of_scheduler.allocated(request, ids, num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        return StepMetadata(self._of_scheduler.take_step())

    def update_connector_output(self, connector_output: Any) -> None:
        self._of_scheduler.lost(connector_output.invalid_block_ids)

    def request_finished(
        self, request: Any, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        self._of_scheduler.leave(request)
        return False, None

    # The workers' side.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        self._of_worker.register(list(kv_caches))

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        metadata = self._get_connector_metadata()
        self._of_worker.write(metadata.step, forward_context.no_compile_layers)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Everything was written before the step began."""

    def save_kv_layer(
        self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any
    ) -> None:
        """Nothing is saved: cartridges are trained, not cached."""

    def wait_for_save(self) -> None:
        """Nothing is saved."""

    def get_block_ids_with_load_errors(self) -> set[int]:
        return self._of_worker.take_failed()

    def get_kv_connector_stats(self) -> KVConnectorStats | None:
        if self._scheduling is None:
            return self._of_worker.take_stats()
        counts = self._scheduling.take_counts()
        return MountStats(data=counts) if counts else None

    def shutdown(self) -> None:
        if self._writing is not None:
            self._writing.close()

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KVConnectorStats:
        """Counts as they arrive in the server's own process."""
        return MountStats(data=dict(data or {}))

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> KVConnectorPromMetrics:
        """Counters under the server's /metrics."""
        return MountMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    @property
    def _of_scheduler(self) -> Scheduling:
        assert self._scheduling is not None
        return self._scheduling

    @property
    def _of_worker(self) -> Writing:
        assert self._writing is not None
        return self._writing


def _require_servable(vllm_config: Any) -> None:
    if vllm_config.kv_transfer_config.kv_load_failure_policy != "fail":
        # A recompute would read the placeholders as text and answer from nothing.
        raise ValueError('Set "kv_load_failure_policy": "fail" in the kv-transfer-config.')
    if vllm_config.cache_config.cache_dtype not in ("auto", "bfloat16", "float16", "float32"):
        raise ValueError(
            f"Cartridges are not served from a {vllm_config.cache_config.cache_dtype} cache; leave "
            "--kv-cache-dtype at auto."
        )
    parallel = vllm_config.parallel_config
    if max(parallel.decode_context_parallel_size, parallel.prefill_context_parallel_size) > 1:
        raise ValueError(
            "Cartridges are not spread over the ranks of context parallelism; divide by tensor or "
            "pipeline parallelism."
        )
    if vllm_config.speculative_config is not None:
        raise ValueError("Cartridges hold nothing for a draft model; serve without speculation.")
