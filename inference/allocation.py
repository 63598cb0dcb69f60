"""Memory that large tensors leave is kept for those that follow.

glibc gives blocks beyond 128 KiB to 32 MiB back to the system as soon as they are free, and asks for them
again a moment later: each page is then cleared and mapped anew, longer work than what is computed in it.
A process that computes on the CPU all its life has no use for that. This file knows the C library; it
knows no tensor.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_MAPPED_FROM = 1 << 30  # bytes
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """For the whole process, from here on; False where the C library is not glibc.

    The process then holds what it needed at its peak.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(_MMAP_THRESHOLD, _MAPPED_FROM) and mallopt(_TRIM_THRESHOLD, _NEVER)
    return bool(kept)
