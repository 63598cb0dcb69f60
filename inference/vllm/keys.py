"""Whether vLLM itself will let a request in, as its `--api-key` and VLLM_API_KEY have it.

vLLM checks keys behind every middleware that it is told to add, so whoever stands before it asks here
first. This file knows headers and keys; it refuses nobody, vLLM does that in its own words.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence


def keys_of(chosen: Sequence[str] | None, environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """SHA-256 of the keys that vLLM accepts; none when it accepts everybody.

    `chosen` is what `--api-key` says, which goes before the environment.
    """
    keys = chosen or [environment.get("VLLM_API_KEY", "")]
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys if key)


def let_in(headers: Iterable[tuple[bytes, bytes]], keys: Sequence[bytes]) -> bool:
    """Whether the request's first Authorization header bears one of the keys."""
    if not keys:
        return True
    said = next((value for name, value in headers if name.lower() == b"authorization"), b"")
    scheme, _, key = said.decode("latin-1").partition(" ")
    digest = hashlib.sha256(key.encode()).digest()
    equal = [hmac.compare_digest(digest, one) for one in keys]  # all of them, whichever fits
    return scheme.lower() == "bearer" and any(equal)
