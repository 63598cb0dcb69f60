import threading
import time

import pytest
from store_samples import MemoryBlobs, make_cartridge

from cartridge_store.blobs import Data
from cartridge_store.catalogue import Catalogue, by_document, newest
from cartridge_store.errors import StoreUnavailable
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name


def test_it_lists_every_valid_blob_and_reads_no_tensors() -> None:
    blobs = MemoryBlobs()
    catalogue = Catalogue(blobs)
    # The second header does not fit into the first small read.
    cartridges = [make_cartridge("a"), make_cartridge("b", figures={"log": "x" * 50_000})]
    for cartridge in cartridges:
        blobs.put(blob_name(cartridge.id), to_bytes(cartridge))
    blobs.put("notes.txt", b"not a cartridge")
    blobs.put(blob_name("c" + "0" * 40), to_bytes(cartridges[0]))
    blobs.put(blob_name("c" + "1" * 40), b"short")
    listed = catalogue.manifests()
    assert sorted(listed, key=lambda manifest: manifest.document_id) == [
        cartridge.manifest for cartridge in cartridges
    ]
    assert set(by_document(listed)) == {("house", "a"), ("house", "b")}
    assert blobs.whole_reads == 0


def test_one_blob_that_cannot_be_read_does_not_stand_for_all() -> None:
    broken: set[str] = set()

    class Worn(MemoryBlobs):
        def get(self, name: str, length: int | None = None) -> Data:
            if name in broken:
                raise StoreUnavailable(f"Could not read {name}: input/output error.")
            return super().get(name, length)

    blobs = Worn()
    cartridges = [make_cartridge("a"), make_cartridge("b")]
    for cartridge in cartridges:
        blobs.put(blob_name(cartridge.id), to_bytes(cartridge))
    broken.add(blob_name(cartridges[0].id))
    catalogue = Catalogue(blobs)
    assert catalogue.manifests() == [cartridges[1].manifest]
    broken.add(blob_name(cartridges[1].id))
    with pytest.raises(StoreUnavailable):
        Catalogue(blobs).manifests()
    broken.clear()
    assert len(catalogue.manifests()) == 2


def test_many_headers_are_read_beside_each_other() -> None:
    together, most, lock = 0, 0, threading.Lock()

    class Far(MemoryBlobs):
        def get(self, name: str, length: int | None = None) -> Data:
            nonlocal together, most
            with lock:
                together += 1
                most = max(most, together)
            time.sleep(0.02)
            with lock:
                together -= 1
            return super().get(name, length)

    blobs = Far()
    cartridges = [make_cartridge(f"d{number:02}") for number in range(20)]
    for cartridge in cartridges:
        blobs.put(blob_name(cartridge.id), to_bytes(cartridge))
    found = sorted(Catalogue(blobs).manifests(), key=lambda manifest: manifest.document_id)
    assert found == [cartridge.manifest for cartridge in cartridges]
    assert most > 1


def test_it_follows_what_comes_and_goes() -> None:
    blobs = MemoryBlobs()
    catalogue = Catalogue(blobs)
    cartridge = make_cartridge()
    assert catalogue.manifests() == []
    blobs.put(blob_name(cartridge.id), to_bytes(cartridge))
    assert catalogue.manifests() == [cartridge.manifest]
    blobs.delete(blob_name(cartridge.id))
    assert catalogue.manifests() == []


def test_the_end_of_a_chain_is_the_newest() -> None:
    chain = [make_cartridge()]
    for seed in range(1, 6):
        chain.append(make_cartridge(seed=seed, parent=chain[-1].id))
    manifests = [cartridge.manifest for cartridge in chain]
    assert newest(manifests) == manifests[-1]
    assert newest(reversed(manifests)) == manifests[-1]
    assert newest(manifests[:3]) == manifests[2]
