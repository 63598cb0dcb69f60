"""One folder of a service begun with what another one has."""

from pathlib import Path

from benchmarks.service_process import begun_with


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_collections_that_are_missing_are_copied_and_others_are_left_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for collection in ("a", "b"):
        _write(first / "studies" / collection / "sheet" / "rows", f"first's {collection}")
        _write(first / "cartridges" / collection / "blob", "trained")
    _write(second / "studies" / "a" / "sheet" / "rows", "second's own")
    begun_with(second, first)
    assert (second / "studies/a/sheet/rows").read_text() == "second's own"
    assert (second / "studies/b/sheet/rows").read_text() == "first's b"
    assert not (second / "cartridges").exists()
    assert not (tmp_path / "second.tmp").exists()
    third = tmp_path / "third"
    begun_with(third, first, "b")
    assert [path.name for path in (third / "studies").iterdir()] == ["b"]


def test_what_an_interruption_left_behind_is_not_taken_for_a_whole_copy(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    _write(first / "studies" / "a" / "rows", "whole")
    _write(tmp_path / "second.tmp" / "rows", "half")
    begun_with(second, first)
    assert (second / "studies/a/rows").read_text() == "whole"
