import errno
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval import durable
from retrieval.errors import IndexCorrupt, StorageFull
from retrieval.journal import append_records, read_records

PAYLOADS = [b"one", b"", b"three" * 100]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.touch()
    append_records(path, 0, PAYLOADS)
    return path


def test_records_come_back_from_any_boundary(journal: Path) -> None:
    records, end = read_records(journal, 0)
    assert records == PAYLOADS
    assert end == journal.stat().st_size
    assert append_records(journal, end, [b"four"]) == journal.stat().st_size
    assert read_records(journal, end)[0] == [b"four"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_record_cut_short_is_left_out_and_overwritten(journal: Path, data: st.DataObject) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    records, end = read_records(journal, 0)
    assert records == PAYLOADS[: len(records)]
    assert len(records) < len(PAYLOADS)
    append_records(journal, end, [b"next"])
    assert read_records(journal, 0)[0] == [*records, b"next"]
    journal.write_bytes(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_noticed(journal: Path, data: st.DataObject) -> None:
    whole = journal.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << (bit % 8)
    journal.write_bytes(damaged)
    with pytest.raises(IndexCorrupt, match="rebuild"):
        read_records(journal, 0)
    journal.write_bytes(whole)


def test_a_journal_that_has_shrunk_or_gone_is_corrupt(journal: Path) -> None:
    _, end = read_records(journal, 0)
    journal.write_bytes(journal.read_bytes()[:-1])
    with pytest.raises(IndexCorrupt):
        read_records(journal, end)
    journal.unlink()
    with pytest.raises(IndexCorrupt):
        read_records(journal, 0)


def test_a_full_disk_leaves_the_journal_as_it_was(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = journal.read_bytes()
    real_write = durable.os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[:50])

    monkeypatch.setattr(durable.os, "write", half)
    with pytest.raises(StorageFull):
        append_records(journal, len(before), [b"x" * 100])
    assert journal.read_bytes() == before
