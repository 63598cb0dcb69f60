"""The journal: an append-only file of records that survives kill -9 at any moment.

A record is `b"JRN1"`, the payload's length (uint32, little-endian), the CRC-32 of those eight
bytes, the payload's SHA-256, then the payload. Knows nothing of what the payloads mean; its
callers hold a lock.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from retrieval.durable import full_disk_is_an_error, write_all
from retrieval.errors import IndexCorrupt

_MAGIC = b"JRN1"
_HEAD = struct.Struct("<4sI")
_CHECK = struct.Struct("<I")
_HEADER_BYTES = _HEAD.size + _CHECK.size + hashlib.sha256().digest_size


def read_records(path: Path, offset: int) -> tuple[list[bytes], int]:
    """The complete records from byte `offset` on, and the offset behind the last of them.

    A record cut short by the end of the file was never acknowledged and is left out. Raises
    `IndexCorrupt` for anything else that is not a record, and when the file is gone or shorter.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < offset:
                raise _damage(path, offset)
            file.seek(offset)
            data = file.read()
    except FileNotFoundError as error:
        raise _damage(path, offset) from error
    records: list[bytes] = []
    position = 0
    while position + _HEADER_BYTES <= len(data):
        head = data[position : position + _HEAD.size]
        magic, length = _HEAD.unpack(head)
        (check,) = _CHECK.unpack_from(data, position + _HEAD.size)
        if magic != _MAGIC or check != zlib.crc32(head):
            raise _damage(path, offset + position)
        start = position + _HEADER_BYTES
        payload = data[start : start + length]
        if len(payload) < length:
            break
        digest = data[position + _HEAD.size + _CHECK.size : start]
        if digest != hashlib.sha256(payload).digest():
            raise _damage(path, offset + position)
        records.append(payload)
        position = start + length
    return records, offset + position


def append_records(path: Path, offset: int, payloads: Sequence[bytes]) -> int:
    """Append records durably behind byte `offset`; returns the offset behind them.

    What stands behind `offset` is the unacknowledged rest of a killed writer, and is cut off. If
    writing fails the file ends at `offset` again. Raises `StorageFull`.
    """
    data = b"".join(map(_frame, payloads))
    with full_disk_is_an_error(path):
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, offset)
            os.lseek(descriptor, offset, os.SEEK_SET)
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, offset)
                raise
        finally:
            os.close(descriptor)
    return offset + len(data)


def _frame(payload: bytes) -> bytes:
    head = _HEAD.pack(_MAGIC, len(payload))
    return head + _CHECK.pack(zlib.crc32(head)) + hashlib.sha256(payload).digest() + payload


def _damage(path: Path, offset: int) -> IndexCorrupt:
    return IndexCorrupt(f"{path.name} is damaged at byte {offset}; rebuild the index.")
