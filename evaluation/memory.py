"""The most memory that this process has held; getrusage would count what its parent held, too.

Knows Linux's /proc alone.
"""

from pathlib import Path


def peak_bytes() -> int:
    """The most bytes that were resident since the process began, or since `forget_peak`.

    Raises RuntimeError on a system that does not say.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("This system does not say how much memory a process has held.")


def forget_peak() -> int:
    """Let the peak be what is resident now, which is returned. Raises OSError where that is not allowed."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_bytes()
