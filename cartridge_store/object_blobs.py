"""Blobs in an object store: S3 and whatever else fsspec speaks to.

An object is replaced whole or not at all, which is what a BlobStore promises; the client adds a checksum
to what it sends. Large ones are read in parts side by side. This file knows names and bytes; it knows
nothing of cartridges or Redis.
"""

import contextlib
import errno
from collections.abc import Iterator, Mapping
from typing import Any

from cartridge_store.blobs import Data
from cartridge_store.errors import CartridgeNotFound, StorageFull, StoreError, StoreUnavailable
from cartridge_store.ids import validate_id

_PART_BYTES = 8 * 2**20


_IN_PLACE = ("sftp", "ssh", "ftp", "smb", "http", "https")


class ObjectBlobs:
    """A BlobStore under a URL such as `s3://bucket/folder`."""

    def __init__(
        self, url: str, options: Mapping[str, Any] | None = None, part_bytes: int = _PART_BYTES
    ) -> None:
        """`options` go to the file system (for S3, s3fs's: `endpoint_url`, `client_kwargs`, ...).

        Nothing is asked of the store yet. Raises StoreError for a URL of no known kind, for one whose
        package is not installed, and for a local folder, which LocalBlobs keeps safely.
        """
        scheme = url.split("://")[0]
        # `put` is to be seen whole or not at all.
        if scheme in _IN_PLACE:
            raise StoreError(
                "Files are written in place there, so that a half of one could be read; use an object "
                "store such as S3, or mount the folder and set CARTRIDGES_DATA."
            )
        import fsspec  # only where it is used: a local store needs none of it

        self._part_bytes = part_bytes
        if "://" not in url or scheme in ("file", "local"):
            raise StoreError(
                "The URL of an object store looks like s3://bucket/folder; for a local folder, set "
                "CARTRIDGES_DATA instead."
            )
        try:
            self._fs, root = fsspec.core.url_to_fs(
                url, use_listings_cache=False, skip_instance_cache=True, **(options or {})
            )
        except ImportError as error:
            raise StoreError(
                f"{scheme}:// needs a package that is not installed ({error}); for S3, "
                "pip install -e '.[s3]'."
            ) from error
        except (ValueError, TypeError) as error:
            raise StoreError(f"The object store cannot be opened: {error}") from error
        self._root = root.rstrip("/")

    def put(self, name: str, data: Data) -> None:
        path = self._path(name)
        with _explained(f"write {name}"):
            self._fs.pipe_file(path, bytes(data))

    def get(self, name: str, length: int | None = None) -> Data:
        path = self._path(name)
        with _explained(f"read {name}"):
            try:
                size = int(self._fs.info(path)["size"])
                wanted = size if length is None else min(length, size)
                starts = range(0, wanted, self._part_bytes)
                ends = [min(start + self._part_bytes, wanted) for start in starts]
                if not ends:
                    return bytearray()
                parts = self._fs.cat_ranges([path] * len(ends), [*starts], ends, on_error="raise")
                for part in parts:  # where some versions of fsspec leave what was raised
                    if isinstance(part, Exception):
                        raise part
            except FileNotFoundError as error:
                raise CartridgeNotFound(f"There is no blob {name}; publish it again.") from error
        return bytearray().join(parts)

    def exists(self, name: str) -> bool:
        path = self._path(name)
        with _explained(f"look at {name}"):
            try:
                # Not `exists` of fsspec, to which an error is an absence.
                self._fs.info(path)
            except FileNotFoundError:
                self._require_bucket()
                return False
            return True

    def delete(self, name: str) -> None:
        path = self._path(name)
        with _explained(f"remove {name}"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def names(self) -> list[str]:
        with _explained("list the store"):
            try:
                found = self._fs.ls(self._root, detail=True)
            except FileNotFoundError:
                self._require_bucket()
                return []  # a folder is there with its first object
        names = (entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file")
        return sorted(name for name in names if name and not name.startswith("."))

    def _require_bucket(self) -> None:
        """Raise StoreError where not even the bucket is there: that is no empty store."""
        bucket = self._root.split("/")[0]
        if self._fs.protocol in ("memory", ("memory",)):
            return
        try:
            self._fs.info(bucket)  # one request, whatever it holds
        except PermissionError:
            return  # who may see a folder alone is told so of a bucket that is there
        except FileNotFoundError as error:
            raise StoreError(
                f"There is no bucket {bucket}; make it, or name another one."
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{validate_id(name, 'blob name')}"


@contextlib.contextmanager
def _explained(action: str) -> Iterator[None]:
    # What a client raises is its own affair: s3fs lets through botocore's errors, others' HTTP errors.
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"Could not {action}: the object store is full.") from error
        raise StoreUnavailable(f"Could not {action}: {error}; check the object store.") from error
    except Exception as error:
        raise StoreUnavailable(f"Could not {action}: {error}; check the object store.") from error
