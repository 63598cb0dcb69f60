"""Freed memory is kept: large tensors made again cost no fresh pages."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys, torch
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    from inference.allocation import keep_freed_memory
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(24 << 20, dtype=torch.uint8).add_(1), torch.ones(48 << 20, dtype=torch.uint8)
before = faults()
for _ in range(10):
    torch.ones(24 << 20, dtype=torch.uint8).add_(1), torch.ones(48 << 20, dtype=torch.uint8)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tensors_reuse_what_was_freed() -> None:
    def counted(how: str) -> int:
        command = [sys.executable, "-W", "ignore", "-c", _FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return int(done.stdout)

    assert counted("kept") * 20 < counted("as it is")
