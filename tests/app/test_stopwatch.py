"""Time that is counted across processes, whatever ends them."""

from pathlib import Path

from app.stopwatch import Stopwatch


def test_what_a_killed_process_took_is_counted(tmp_path: Path) -> None:
    now = [100.0]
    path, told = tmp_path / "job" / "seconds", list[str]()

    def begun() -> tuple[Stopwatch, list[str]]:
        watch = Stopwatch(path, lambda: now[0])
        tell = watch.noting(told.append)
        for _ in range(4):
            tell("a step")
            now[0] += 3.0
        return watch, told

    first, _ = begun()
    assert first.seconds == 12.0
    now[0] += 1_000.0  # it is dead: nobody works
    again, _ = begun()
    # The last note was at six seconds: what came behind is not known.
    assert again.seconds == 6.0 + 12.0
    assert len(told) == 8
    path.write_text("no number")
    assert Stopwatch(path, lambda: now[0]).seconds == 0.0
