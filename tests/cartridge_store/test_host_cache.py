from hypothesis import given
from hypothesis import strategies as st
from store_samples import make_cartridge

from cartridge_store.host_cache import HostCache

CARTRIDGES = [make_cartridge(seed=seed, shape=(1, 1, seed + 1, 4)) for seed in range(6)]


def test_the_least_recently_used_leaves_first() -> None:
    one, two, three = CARTRIDGES[:3]
    cache = HostCache(one.nbytes + three.nbytes)
    assert cache.put(one) == []
    assert cache.put(two) == []
    assert cache.get(one.id) is one
    assert cache.put(three) == [two.id]
    assert cache.get(two.id) is None
    assert cache.get(one.id) is one


@given(st.integers(0, 200), st.lists(st.tuples(st.sampled_from("pgd"), st.integers(0, 5))))
def test_it_never_holds_more_than_it_may(capacity: int, steps: list[tuple[str, int]]) -> None:
    cache, held = HostCache(capacity), set[int]()
    for verb, index in steps:
        cartridge = CARTRIDGES[index]
        if verb == "p":
            left = cache.put(cartridge)
            held = {i for i in held | {index} if CARTRIDGES[i].id not in left}
        elif verb == "g":
            assert (cache.get(cartridge.id) is cartridge) == (index in held)
        else:
            cache.drop(cartridge.id)
            held.discard(index)
        assert cache.nbytes == sum(CARTRIDGES[i].nbytes for i in held) <= capacity
