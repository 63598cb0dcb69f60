"""The page pool: contents survive every move, accounting is exact, room is promised and kept."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.pages import SCRATCH, PagePool, PageShape, PoolTooSmall, Span

SHAPE = PageShape(2, 1, 4, torch.float32, torch.device("cpu"), slots=4)


def columns(seed: int, count: int) -> torch.Tensor:
    return torch.randn(2, 1, count, 4, generator=torch.Generator().manual_seed(seed))


def contents(pool: PagePool, span: Span) -> torch.Tensor:
    pages = [pool.keys[:, page] for page in span.pages]
    return torch.cat(pages, dim=2)[:, :, : span.columns]


@dataclass
class Model:
    span: Span
    expected: torch.Tensor
    limit: int = 0
    pins: int = field(default=0)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc on this system")
def test_a_pool_takes_the_memory_that_it_fills() -> None:
    shape = PageShape(4, 2, 64, torch.bfloat16, torch.device("cpu"))
    before = resident_bytes()
    pool = PagePool(shape, 1 << 30)
    assert resident_bytes() - before < 1 << 26
    assert pool.keys[:, [0, 1, pool.capacity]].count_nonzero() == 0
    pool.keys[:, :1_000] = 1
    assert resident_bytes() - before > 1_000 * shape.nbytes // 4  # half are keys


class Pools(RuleBasedStateMachine):
    """Pins, growth and release in any order, against what each span ought to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(SHAPE, 13 * SHAPE.nbytes)
        self.shared: dict[str, Model] = {}
        self.private: list[Model] = []

    @rule(seed=st.integers(0, 5))
    def pin(self, seed: int) -> None:
        key, count = f"c{seed}", 1 + 3 * seed
        if not self.pool.fits([(key, count)], 0):
            return
        known = self.pool.holds(key)
        span, fresh = self.pool.pin(key, count)
        assert fresh == (not known)
        if fresh:
            self.pool.write(span, columns(seed, count), -columns(seed, count))
            self.pool.loaded(span)
            self.shared[key] = Model(span, columns(seed, count))
        self.shared[key].pins += 1

    @precondition(lambda self: any(m.pins for m in self.shared.values()))
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from([m for m in self.shared.values() if m.pins]))
        model.pins -= 1
        self.pool.unpin(model.span)

    @rule(seed=st.integers(0, 6))
    def discard(self, seed: int) -> None:
        self.pool.discard(f"c{seed}")
        model = self.shared.get(f"c{seed}")
        assert model is None or model.pins or not model.span.pages

    @rule(limit=st.integers(1, 12))
    def promise(self, limit: int) -> None:
        if self.pool.fits([], limit):
            span = self.pool.private(limit)
            self.private.append(Model(span, torch.empty(2, 1, 0, 4), limit))

    @precondition(lambda self: self.private)
    @rule(data=st.data(), count=st.integers(1, 4), seed=st.integers(10, 99))
    def grow(self, data: st.DataObject, count: int, seed: int) -> None:
        model = data.draw(st.sampled_from(self.private))
        count = min(count, model.limit - model.span.columns)
        if not count:
            return
        first = model.span.columns
        self.pool.extend(model.span, count)
        new = columns(seed, count)
        for offset in range(count):
            page, slot = divmod(first + offset, SHAPE.slots)
            self.pool.keys[:, model.span.pages[page], :, slot] = new[:, :, offset]
        model.expected = torch.cat([model.expected, new], dim=2)

    @precondition(lambda self: self.private)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.private))
        self.private.remove(model)
        self.pool.forget(model.span)

    @invariant()
    def contents_are_whole(self) -> None:
        for model in [*self.private, *self.shared.values()]:
            if model.span.pages:  # an idle one may have gone
                assert torch.equal(contents(self.pool, model.span), model.expected)
            else:
                assert not model.pins

    @invariant()
    def pages_have_one_owner_and_those_in_use_stand_in_front(self) -> None:
        spans = [m.span for m in [*self.private, *self.shared.values()]]
        taken = [page for span in spans for page in span.pages]
        assert len(taken) == len(set(taken))
        assert SCRATCH not in taken
        assert not self.pool.keys[:, SCRATCH].any()
        assert all(p < self.pool.front for s in spans if not s.idle for p in s.pages)
        read = sum(owner is not None and not owner.idle for owner in self.pool._owners)
        assert self.pool._standing == read
        free = set(range(1, self.pool.capacity + 1)) - set(taken)
        assert not self.pool.keys[:, sorted(free)].any()
        assert self.pool.resident_bytes == len(taken) * SHAPE.nbytes

    @invariant()
    def accounting_is_exact(self) -> None:
        pinned = sum(SHAPE.pages(m.expected.shape[2]) for m in self.shared.values() if m.pins)
        promised = sum(SHAPE.pages(m.limit) for m in self.private)
        assert self.pool.pinned_bytes == (pinned + promised) * SHAPE.nbytes
        assert pinned + promised <= self.pool.capacity


TestPools = Pools.TestCase
TestPools.settings = settings(max_examples=60, stateful_step_count=40)


def test_what_is_discarded_stays_for_those_who_hold_it_and_no_longer() -> None:
    pool = PagePool(SHAPE, 4 * SHAPE.nbytes)
    span, _ = pool.pin("c", 4)
    pool.discard("c")  # while it is being written
    pool.loaded(span)
    pool.pin("c", 4)  # by a question that had looked it up just before
    pool.unpin(span)
    assert pool.holds("c")
    pool.unpin(span)
    assert not pool.holds("c")
    assert pool.resident_bytes == 0
    again, fresh = pool.pin("c", 4)
    pool.loaded(again)
    pool.unpin(again)
    assert fresh
    assert pool.holds("c")


def test_the_coldest_goes_first() -> None:
    pool = PagePool(SHAPE, 4 * SHAPE.nbytes)  # three pages
    for key, times in (("hot", 3), ("cold", 1), ("warm", 2)):
        for _ in range(times):
            span, _ = pool.pin(key, 4)
            pool.loaded(span)
            pool.unpin(span)
    pool.pin("new", 4)
    assert [pool.holds(key) for key in ("hot", "warm", "cold")] == [True, True, False]


def test_what_is_being_written_is_neither_moved_nor_given_back() -> None:
    pool = PagePool(SHAPE, 4 * SHAPE.nbytes)
    span, _ = pool.pin("late", 8)
    before = list(span.pages)
    pool.unpin(span)  # its only reader has gone
    assert not pool.fits([("other", 8)], 0)
    assert pool.fits([("late", 8)], 4)
    assert span.pages == before
    pool.loaded(span)
    assert pool.fits([("other", 12)], 0)


def test_impossible_wishes_are_told_how_many_bytes_they_need() -> None:
    pool = PagePool(SHAPE, 4 * SHAPE.nbytes)
    pool.require_room([("a", 4), ("a", 4)], 8)
    with pytest.raises(PoolTooSmall, match=f"needs {4 * SHAPE.nbytes} bytes"):
        pool.require_room([("a", 4), ("b", 4)], 8)
    with pytest.raises(PoolTooSmall, match=f"at least {2 * SHAPE.nbytes}"):
        PagePool(SHAPE, SHAPE.nbytes)
