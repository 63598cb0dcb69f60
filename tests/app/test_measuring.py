"""What commands that measure share: a bar, and an end that takes along what was started."""

import os
import signal

import pytest

from app.cli.measuring import progress_bar


def test_being_terminated_ends_it_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    ended: list[str] = []

    def measure() -> None:
        with progress_bar("a measurement") as progress:
            progress("under way", 0.5)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                ended.append("what was started")

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert ended == ["what was started"]
    assert signal.getsignal(signal.SIGTERM) == before
