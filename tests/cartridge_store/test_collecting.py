"""What may be collected: never the current version, never what could still become it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from store_samples import make_cartridge

from cartridge_store.collecting import decide
from cartridge_store.manifest import Manifest
from cartridge_store.tombstones import Tombstone


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000Z"


def version(seed: int, parent: Manifest | None, second: int) -> Manifest:
    made = make_cartridge(seed=seed, parent=parent.cartridge_id if parent else None).manifest
    return replace(made, created_at=at(second))


FIRST = version(1, None, 10)
SECOND = version(2, FIRST, 20)
THIRD = version(3, SECOND, 30)
LOSER = version(4, FIRST, 25)  # made beside SECOND, promoted never
ALL = (FIRST, SECOND, THIRD, LOSER)


def ids(versions: tuple[Manifest, ...]) -> set[str]:
    return {each.cartridge_id for each in versions}


def test_what_was_replaced_and_what_lost_goes_after_its_time() -> None:
    found = decide(ALL, THIRD.cartridge_id, None, (), at(40))
    assert ids(found.drop) == ids((FIRST, SECOND, LOSER))
    assert found.finish is None
    assert decide(ALL, THIRD.cartridge_id, None, (), at(30)).drop == ()
    leased = (SECOND.cartridge_id,)
    assert ids(decide(ALL, THIRD.cartridge_id, None, leased, at(40)).drop) == ids((FIRST, LOSER))


def test_a_loser_that_was_made_later_goes_as_well() -> None:
    late = version(5, FIRST, 35)
    found = decide((*ALL, late), THIRD.cartridge_id, None, (), at(40))
    assert late in found.drop


def test_a_successor_that_was_never_promoted_is_finished() -> None:
    found = decide(ALL, SECOND.cartridge_id, None, (), at(40))
    assert found.finish == THIRD
    assert THIRD not in found.drop
    # Its publisher may be at it still.
    assert decide(ALL, SECOND.cartridge_id, None, (), at(30)).finish is None


def test_a_registry_of_yesterday_loses_nothing() -> None:
    """It says FIRST; SECOND was collected; THIRD is the truth."""
    found = decide((FIRST, THIRD), FIRST.cartridge_id, None, (), at(59))
    assert found.drop == ()


def test_without_a_current_version_only_the_buried_go() -> None:
    found = decide(ALL, None, None, (), at(59))
    assert (found.drop, found.finish) == ((), THIRD)
    assert decide(ALL, None, None, (), at(30)).finish is None
    assert decide(ALL, "c" + "0" * 40, None, (), at(59)).finish is None  # its blob is missing
    stone = Tombstone("house", "boiler.md", at(20))
    found = decide(ALL, None, stone, (FIRST.cartridge_id,), at(59))
    assert ids(found.drop) == ids((SECOND,))


@given(
    parents=st.lists(st.integers(0, 6), min_size=1, max_size=7),
    order=st.permutations(range(7)),
    current=st.integers(0, 6),
    old=st.integers(0, 59),
    leased=st.sets(st.integers(0, 6)),
)
def test_what_is_current_or_leased_or_new_stays(
    parents: list[int], order: list[int], current: int, old: int, leased: set[int]
) -> None:
    versions: list[Manifest] = []
    for number, parent in enumerate(parents):
        chosen = versions[parent % len(versions)] if versions and parent else None
        versions.append(version(number, chosen, 5 + 5 * order[number]))
    known = versions[current % len(versions)]
    kept = {versions[n].cartridge_id for n in leased if n < len(versions)}
    found = decide(versions, known.cartridge_id, None, kept, at(old))
    assert known not in found.drop
    assert not ids(found.drop) & kept
    assert found.finish not in found.drop
    for dropped in found.drop:
        assert min(dropped.created_at, known.created_at) < at(old)
    if found.finish is not None:
        assert found.finish.parent == known.cartridge_id
