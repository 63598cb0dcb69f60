"""The worker's side of the connector: cartridges are read, checked, kept in memory and written to pages.

A cartridge that cannot be loaded fails the requests that need it now, by their blocks. This file knows a
vLLM worker's layers by their attributes; it decides nothing about requests.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from vllm.distributed import get_pp_group, get_tensor_model_parallel_rank

from cartridge_store.blobs import BlobStore
from cartridge_store.cartridge import Cartridge
from cartridge_store.residency import Budget, Residency
from inference.vllm.card import ReaderCard
from inference.vllm.metrics import MountStats
from inference.vllm.mounting import Mounter
from inference.vllm.patience import Patience
from inference.vllm.scheduling import Load, Step
from inference.vllm.slicing import heads_of_rank, slot_numbers

logger = logging.getLogger(__name__)

_READ_SECONDS = 60.0  # for all that a step reads; vLLM gives a whole step up after 300
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


class Writing:
    """Writes the columns that the scheduler asks for."""

    def __init__(
        self, vllm_config: Any, card: ReaderCard, blobs: BlobStore, host_bytes: int
    ) -> None:
        """Raises ValueError where the served model has not the card's shape."""
        parallel = vllm_config.parallel_config
        model = vllm_config.model_config
        served = (model.get_total_num_kv_heads(), model.get_head_size())
        if served != (card.kv_heads, card.head_dim):
            raise ValueError("The reader card is of another model; make it again.")
        if different := card.differences(model.hf_text_config):
            raise ValueError(
                f"The reader card is of another model: its {', '.join(different)} differ. Make it again, "
                "and serve the model as it lies there."
            )
        rank = get_tensor_model_parallel_rank()
        heads = heads_of_rank(card.kv_heads, parallel.tensor_parallel_size, rank)
        self._counts = rank == 0 and get_pp_group().is_first_rank
        self._residency = Residency(blobs, Budget(host_bytes=host_bytes))
        self._reads = Patience(self._residency.load, _READ_SECONDS)
        self._mounter = Mounter(card, heads, model.dtype, self._loaded)
        self._card = card
        self._block_size = int(vllm_config.cache_config.block_size)
        self._layers: dict[str, int] = {}
        self._failed: set[int] = set()
        self._stats = MountStats()

    def register(self, names: Iterable[str]) -> None:
        """The attention layers of this worker. Raises ValueError for more than the reader has."""
        found = {name: _layer_of(name) for name in names}
        if len(set(found.values())) < len(found) or max(found.values()) >= self._card.layers:
            raise ValueError(
                f"The server has attention layers {sorted(found)}, which are not the reader's "
                f"{self._card.layers}; serve a decoder-only model without a draft model."
            )
        self._layers = found

    def write(self, step: Step, layers: Mapping[str, Any]) -> None:
        """Write all columns of a step; what cannot be written is reported by its blocks."""
        self._failed |= step.failed_blocks
        if not step.loads:
            return
        if self._reads.begin():
            # Side by side: running answers wait for all of them.
            wanted = {id for load in step.loads for id in load.composition.behind(load.start)}
            self._residency.prefetch(wanted)
        for load in step.loads:
            try:
                self._write(load, layers)
            except Exception as error:  # of this request alone
                logger.warning("Request %s fails: %s", load.request_id, error)
                self._failed |= set(self._blocks_of(load))

    def take_failed(self) -> set[int]:
        """Blocks that were not written since the last call."""
        failed, self._failed = self._failed, set()
        return failed

    def take_stats(self) -> MountStats | None:
        """Counts since the last call; those of one rank, since all of them do the same."""
        stats, self._stats = self._stats, MountStats()
        return stats if self._counts and not stats.is_empty() else None

    def close(self) -> None:
        """Fetch nothing any more."""
        self._residency.close()

    def _loaded(self, id: str) -> Cartridge:
        """The cartridge, unless it takes too long."""
        at_hand = self._residency.at_hand(id)
        return self._residency.load(id) if at_hand else self._reads.get(id)

    @torch.no_grad()
    def _write(self, load: Load, layers: Mapping[str, Any]) -> None:
        read = self._residency.reads["blobs"]
        columns = self._mounter.columns(load.composition, load.start)
        self._stats.count("read", self._residency.reads["blobs"] - read)
        places = slot_numbers(
            list(load.blocks), self._block_size, load.start, load.composition.columns
        )
        slots: torch.Tensor | None = None
        for name, index in self._layers.items():
            layer = layers[name]
            cache = layer.kv_cache
            if slots is None:
                slots = torch.tensor(places, dtype=torch.long, device=cache.device)
            # [columns, kv_heads, head_dim], as a layer's own keys come. The backend writes them itself:
            # on a CPU the layout depends on the instruction set. Untested on CUDA.
            keys = columns.keys[index].transpose(0, 1).contiguous().to(cache.device)
            values = columns.values[index].transpose(0, 1).contiguous().to(cache.device)
            layer.impl.do_kv_cache_update(layer, keys, values, cache, slots)
        self._stats.count("mounts", 1)
        self._stats.count("columns_written", len(places))

    def _blocks_of(self, load: Load) -> tuple[int, ...]:
        size = self._block_size
        return load.blocks[load.start // size : -(-load.composition.columns // size)]


def _layer_of(name: str) -> int:
    numbers = _LAYER.findall(name)
    if len(numbers) != 1:
        raise ValueError(f"The layer {name} has no number of its own; serve a plain decoder.")
    return int(numbers[0])
