"""What is true of an object store beyond the contract in test_blobs, on a real S3 server."""

from collections.abc import Callable

import pytest
from store_samples import make_cartridge, same_bits

from cartridge_store.errors import CartridgeNotFound, StorageFull, StoreError, StoreUnavailable
from cartridge_store.object_blobs import ObjectBlobs
from cartridge_store.registry import Registry
from cartridge_store.store import CartridgeStore


def test_a_large_blob_is_read_in_parts(new_s3: Callable[..., ObjectBlobs]) -> None:
    blobs = new_s3(part_bytes=1000)
    data = bytes(range(256)) * 17  # 4,352 bytes: the last part is short
    blobs.put("a", data)
    asked: list[list[int]] = []
    ranges = blobs._fs.cat_ranges

    def counted(paths: list[str], starts: list[int], ends: list[int], **more: object) -> object:
        asked.append(starts)
        return ranges(paths, starts, ends, **more)

    blobs._fs.cat_ranges = counted
    assert blobs.get("a") == data
    assert blobs.get("a", 1001) == data[:1001]
    assert asked == [[0, 1000, 2000, 3000, 4000], [0, 1000]]


def test_cartridges_are_published_found_and_loaded(
    new_s3: Callable[..., ObjectBlobs], registry: Registry
) -> None:
    blobs = new_s3()
    store = CartridgeStore(blobs, registry)
    cartridge = make_cartridge()
    store.publish(cartridge)
    assert same_bits(store.load(cartridge.id), cartridge)
    assert store.inspect() == (1, [])
    assert store.rebuild() == 1
    store.remove_document("house", "boiler.md")
    assert [name for name in blobs.names() if name.startswith("c")] == []
    with pytest.raises(CartridgeNotFound):
        CartridgeStore(blobs, registry).load(cartridge.id)


@pytest.mark.parametrize("url", ["s3://nowhere-at-all/x", "s3://nowhere-at-all"])
def test_a_bucket_that_is_not_there_is_explained(s3_options: dict[str, object], url: str) -> None:
    blobs = ObjectBlobs(url, s3_options)
    with pytest.raises(StoreError, match=r"Could not write a: .*check the object store"):
        blobs.put("a", b"one")
    for call in (blobs.names, lambda: blobs.exists("a")):  # it is not an empty one
        with pytest.raises(StoreError, match="There is no bucket nowhere-at-all"):
            call()


def test_who_may_see_a_folder_alone_has_an_empty_store_there(
    new_s3: Callable[..., ObjectBlobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = new_s3()
    bucket, listing = blobs._root.split("/")[0], blobs._fs.ls

    def ls(path: str, **more: object) -> object:
        if path == bucket:
            raise PermissionError("Access Denied")
        return listing(path, **more)

    monkeypatch.setattr(blobs._fs, "ls", ls)
    assert not blobs.exists("probe")
    assert blobs.names() == []


@pytest.mark.parametrize(
    ("part", "kind"),
    [(FileNotFoundError("gone"), CartridgeNotFound), (OSError(5, "slow down"), StoreUnavailable)],
)
def test_a_part_that_could_not_be_read_is_said_whatever_fsspec_makes_of_it(
    part: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = ObjectBlobs("memory://parts/x")
    blobs.put("a", b"one")
    monkeypatch.setattr(blobs._fs, "cat_ranges", lambda *_, **__: [part])
    with pytest.raises(kind):
        blobs.get("a")


def test_a_server_that_does_not_answer_is_not_an_absence() -> None:
    blobs = ObjectBlobs(
        "s3://bucket/x",
        {
            "key": "test",
            "secret": "test",
            "endpoint_url": "http://127.0.0.1:9",
            "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
        },
    )
    for call in (
        lambda: blobs.exists("a"),
        lambda: blobs.get("a"),
        lambda: blobs.put("a", b"one"),
        lambda: blobs.delete("a"),
        blobs.names,
    ):
        with pytest.raises(StoreError, match="check the object store") as raised:
            call()
        assert type(raised.value) is StoreUnavailable


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/tmp/here", "looks like s3://"),
        ("file:///tmp/here", "looks like s3://"),
        ("nosuchscheme://here", "cannot be opened"),
        ("sftp://host/folder", "written in place"),
    ],
)
def test_what_is_no_object_store_is_refused(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        ObjectBlobs(url)


def test_a_full_store_is_said_to_be_full(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = ObjectBlobs("memory://full/x")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blobs._fs, "pipe_file", full)
    with pytest.raises(StorageFull, match="full"):
        blobs.put("a", b"one")
