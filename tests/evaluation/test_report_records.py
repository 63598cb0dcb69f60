"""Records on disk: read back as they were, once each, with whole parts only and of one study."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evaluation.report.records import RecordFolder
from tests.evaluation.report_samples import records

SOME = records(documents=["harbour-charter"], questions=3, arms=["cartridge", "rag"], seeds=[0])


def test_what_was_added_is_read_back_in_order(tmp_path: Path) -> None:
    noticed = replace(SOME[0], notices=("The cartridge of document a was refused.", "Ärger."))
    RecordFolder(tmp_path / "new").add([noticed])
    RecordFolder(tmp_path / "new").add(SOME[1:])
    RecordFolder(tmp_path / "new").add([])
    assert RecordFolder(tmp_path / "new").read() == [noticed, *SOME[1:]]
    assert RecordFolder(tmp_path / "new").done() == {record.key for record in SOME}
    assert RecordFolder(tmp_path / "nothing").read() == []


def test_a_question_counts_once_the_first_time(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path)
    folder.add(SOME)
    folder.add([replace(SOME[0], answer="again"), *SOME[1:]])
    assert folder.read() == SOME


def test_a_half_written_part_is_left_out_and_asked_again(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path)
    folder.add(SOME[:2])
    folder.add(SOME[2:4])
    last = sorted(tmp_path.glob("part-*"))[-1]
    whole = last.read_bytes()
    (tmp_path / ".part-000003-aaaaaaaaaaaa.parquet.1.2.tmp").write_bytes(whole)
    for damaged in (whole[: len(whole) // 2], b"", whole[:40] + b"\0\0\0\0" + whole[44:]):
        last.write_bytes(damaged)
        assert folder.read() == SOME[:2]
    missing = [record for record in SOME if record.key not in folder.done()]
    folder.add(missing)
    assert folder.read() == SOME


def test_a_folder_keeps_one_study_and_one_format(tmp_path: Path) -> None:
    RecordFolder(tmp_path, "one").add(SOME)
    with pytest.raises(ValueError, match="other settings"):
        RecordFolder(tmp_path, "two").read()
    part = next(tmp_path.glob("part-*"))
    table = pq.read_table(part)
    pq.write_table(table.drop_columns(["f1"]), part)
    with pytest.raises(ValueError, match="another format"):
        RecordFolder(tmp_path, "one").read()
    # What an earlier program wrote has no ROUGE and no chrF, and is read all the same.
    pq.write_table(table.drop_columns(["rouge_l", "chrf"]), part)
    assert RecordFolder(tmp_path, "one").read() == SOME


def test_texts_without_utf8_lose_no_run(tmp_path: Path) -> None:
    RecordFolder(tmp_path).add([replace(SOME[0], answer="half \ud83d")])
    assert RecordFolder(tmp_path).read()[0].answer == "half ?"


@pytest.mark.parametrize(
    "wrong",
    [{"score": 1.2}, {"f1": float("nan")}, {"kv_bytes": -1}, {"total_ms": float("inf")}],
)
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        replace(SOME[0], **wrong)
    with pytest.raises(ValueError, match="unknown"):
        replace(SOME[0], kind="riddle")
