"""Which versions of a document may go, and which one was never finished: a decision, no deed.

It knows manifests alone. `collect` of the store does what is decided here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cartridge_store.catalogue import newest
from cartridge_store.manifest import Manifest
from cartridge_store.tombstones import Tombstone


@dataclass(frozen=True, slots=True)
class Decision:
    """`drop` nobody needs; `finish` was stored to become current and never promoted.

    With `retire`, the current version is of a document whose deletion was interrupted.
    """

    drop: tuple[Manifest, ...]
    finish: Manifest | None = None
    retire: bool = False


def decide(
    versions: Sequence[Manifest],
    current_id: str | None,
    tombstone: Tombstone | None,
    leased: Collection[str],
    old: str,
) -> Decision:
    """What becomes of the stored versions of one document.

    `old` is a time: whatever was made, or replaced, later than that stays. Of a document without a
    current version only what lies under its tombstone goes: its registry may have been emptied, or the
    publisher of its first version died before it was promoted.
    """
    buried = [v for v in versions if tombstone is not None and tombstone.buries(v)]
    living = [v for v in versions if v not in buried]
    drop = [v for v in buried if v.cartridge_id not in leased]
    current = next((v for v in living if v.cartridge_id == current_id), None)
    if current is None:
        last = newest(living) if living and current_id is None else None
        return Decision(
            tuple(drop),
            finish=last if last is not None and last.created_at < old else None,
            retire=any(v.cartridge_id == current_id for v in buried),
        )
    ancestors = _ancestors(current, living)
    finish: Manifest | None = None
    for version in living:
        if version is current or version.cartridge_id in leased:
            continue
        if version.cartridge_id in ancestors or version.created_at < current.created_at:
            # Replaced, since the current version was made.
            if current.created_at < old:
                drop.append(version)
        elif version.created_at < old:
            if version.parent == current.cartridge_id:
                finish = max(
                    (v for v in (finish, version) if v is not None), key=lambda v: v.created_at
                )
            elif version.parent in ancestors or version.parent is None:
                drop.append(version)  # it lost a race, and whoever published it died there
    return Decision(tuple(drop), finish)


def _ancestors(current: Manifest, versions: Sequence[Manifest]) -> set[str]:
    """Ids of the versions that led to the current one, as far as they are known."""
    by_id = {version.cartridge_id: version for version in versions}
    found: set[str] = set()
    parent = current.parent
    while parent is not None and parent not in found:
        found.add(parent)
        parent = by_id[parent].parent if parent in by_id else None
    return found
