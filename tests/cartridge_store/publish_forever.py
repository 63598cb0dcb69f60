"""A publisher to be killed: publishes new documents until it is."""

import sys
from itertools import count

from store_samples import make_cartridge

from cartridge_store.blobs import LocalBlobs
from cartridge_store.registry import Registry, connect
from cartridge_store.store import CartridgeStore

root, url, prefix, label = sys.argv[1:]
store = CartridgeStore(LocalBlobs(root), Registry(connect(url), prefix))
# Large enough that a kill lands within a write as often as between two.
shape = (4, 2, 64, 512)
print("ready", flush=True)
for number in count():
    store.publish(make_cartridge(f"{label}-{number}", seed=number, shape=shape))
    print(number, flush=True)
