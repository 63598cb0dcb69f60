"""The scheduler's side of the connector: which requests mount what, under which salt, in which blocks.

It never raises for a request: an exception there would end the engine. A request that cannot be mounted
gets a salt of its own and one column whose block is then reported as failed, so that it alone fails.
This file knows a vLLM request by its attributes and imports nothing of vLLM.
"""

import hashlib
import json
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cartridge_store.manifest import Manifest
from inference.vllm.card import ReaderCard
from inference.vllm.errors import MountRefused
from inference.vllm.mounting import Composition, composed, named
from inference.vllm.patience import Patience

logger = logging.getLogger(__name__)

_REMEMBERED = 4096  # manifests, and compositions that were once not loaded
_FIND_SECONDS = 10.0  # the manifests of one request


@dataclass(frozen=True, slots=True)
class Load:
    """Columns of a composition from `start` on, for the blocks of one request."""

    request_id: str
    composition: Composition
    start: int
    blocks: tuple[int, ...]


@dataclass(slots=True)
class Step:
    """What the workers are to do before a step: loads, and blocks of requests that fail."""

    loads: list[Load] = field(default_factory=list)
    failed_blocks: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Mounted:
    """A request with what it mounts, None when it is to fail, and the salt that it came with."""

    request: Any
    composition: Composition | None
    tenant: str | None


class Scheduling:
    """What the scheduler knows of the requests that name cartridges."""

    def __init__(self, card: ReaderCard, find: Callable[[str], Manifest], most: int) -> None:
        """`find` reads a manifest by cartridge id; what it said is remembered, an id is its content's."""
        self._card, self._most = card, most
        self._find = Patience(find, _FIND_SECONDS)
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        # Nobody outside knows it: no request can choose the salt of another's composition.
        self._secret = secrets.token_hex(16)
        self._mounted: dict[str, _Mounted] = {}
        self._spoiled: dict[Composition, int] = {}
        self._loads: dict[int, Load] = {}  # by block: the last one into it
        self._step = Step()
        self._counts: Counter[str] = Counter()

    def arrive(self, request: Any) -> None:
        """A request is new: mark it and give it the salt of what it mounts."""
        params = request.kv_transfer_params
        if not params or "cartridges" not in params:
            return
        # vLLM mounts nothing for requests that skip the prefix cache, and would read placeholders as text.
        request.skip_reading_prefix_cache = False
        found: Composition | None = None
        try:
            found = self._composition(request, params["cartridges"])
        except Exception as error:  # whatever it is, this request fails and no other
            logger.warning("Request %s mounts nothing and fails: %s", request.request_id, error)
            _make_room_to_fail(request)
        mounted = _Mounted(request, found, request.cache_salt)
        self._mounted[request.request_id] = mounted
        self._mark(mounted)

    def missing(self, request: Any, computed: int) -> int:
        """Columns that are to be mounted behind the `computed` ones that are there."""
        if request.request_id not in self._mounted:
            return 0
        composition = self._mounted[request.request_id].composition
        if composition is None:
            return 1 if computed == 0 else 0
        return max(0, composition.columns - computed)

    def allocated(self, request: Any, blocks: Sequence[int], columns: int) -> None:
        """The request has blocks, and so many columns of it are to be mounted now."""
        if not columns or request.request_id not in self._mounted:
            return
        composition = self._mounted[request.request_id].composition
        if composition is None:
            self._step.failed_blocks.add(blocks[0])
            self._counts["refused"] += 1
            return
        start = composition.columns - columns
        load = Load(request.request_id, composition, start, tuple(blocks))
        self._step.loads.append(load)
        self._loads |= dict.fromkeys(load.blocks, load)

    def take_step(self) -> Step:
        """What has come together since the last call."""
        step, self._step = self._step, Step()
        return step

    def take_counts(self) -> dict[str, int]:
        """Requests since the last call that were `refused`, or `failed` for want of a cartridge."""
        counts, self._counts = self._counts, Counter()
        return dict(counts)

    def leave(self, request: Any) -> None:
        """A request has ended."""
        self._mounted.pop(request.request_id, None)

    def lost(self, blocks: Iterable[int]) -> None:
        """Nothing was written to these blocks, whose compositions get another salt.

        vLLM forgets such blocks where their request still runs. Where its client has given up meanwhile
        they are found for ever under their old names, with whatever they held before, and so is what was
        computed behind them.
        """
        loads = {load.request_id: load for block in blocks if (load := self._loads.get(block))}
        if not loads:  # as after nearly every step
            return
        self._counts["failed"] += len(loads)
        spoiled = {load.composition for load in loads.values()}
        for composition in spoiled:
            self._spoiled[composition] = self._spoiled.pop(composition, 0) + 1
        if afresh := len(self._spoiled) > _REMEMBERED:
            self._spoiled.clear()
            self._secret = secrets.token_hex(16)  # whatever is cached is found no more
        for mounted in self._mounted.values():
            if afresh or mounted.composition in spoiled:
                self._mark(mounted)

    def _mark(self, mounted: _Mounted) -> None:
        """Give a request the salt of what it mounts; one that fails shares its blocks with nobody."""
        request = mounted.request
        if mounted.composition is None:
            request.cache_salt = secrets.token_hex(16)
        else:
            request.cache_salt = self._salt(mounted.composition, mounted.tenant)
        request.block_hashes = []
        request.update_block_hashes()

    def _composition(self, request: Any, cartridges: object) -> Composition:
        sampling = request.sampling_params
        scored = ("prompt_logprobs", "prompt_logprob_token_ids")
        if sampling is None or any(getattr(sampling, name, None) is not None for name in scored):
            raise MountRefused(
                "Log-probabilities of the prompt cannot be given behind cartridges; ask without them."
            )
        if getattr(request, "lora_request", None) is not None:
            raise MountRefused(
                "Cartridges are of the reader itself, not of an adapter on it; ask the base model."
            )
        ids = named(cartridges, self._most)
        self._find.begin()
        found = composed(self._card, [self._manifest(id) for id in ids])
        prompt = request.prompt_token_ids or ()
        places = prompt[: found.columns]
        if len(prompt) <= found.columns or any(id != self._card.sink_id for id in places):
            raise MountRefused(
                f"The prompt must begin with {found.columns} placeholders (token {self._card.sink_id}) "
                "and go on behind them; let the middleware build it."
            )
        return found

    def _manifest(self, id: str) -> Manifest:
        manifest = self._manifests.pop(id, None) or self._find.get(id)
        self._manifests[id] = manifest
        if len(self._manifests) > _REMEMBERED:
            self._manifests.popitem(last=False)
        return manifest

    def _salt(self, composition: Composition, tenant: str | None) -> str:
        """One for each composition and tenant, in this process; equal ones share their blocks."""
        spoiled = self._spoiled.get(composition, 0)
        named = zip(composition.ids, composition.digests, strict=True)
        parts = [self._secret, spoiled, tenant, *named]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _make_room_to_fail(request: Any) -> None:
    # vLLM mounts nothing that leaves no token to compute.
    if request.num_prompt_tokens < 2 and request.prompt_token_ids is not None:
        request.prompt_token_ids.append(request.prompt_token_ids[-1])
        request._all_token_ids.append(request.prompt_token_ids[-1])
        request.num_prompt_tokens += 1
