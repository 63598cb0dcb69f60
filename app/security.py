"""Access: a bearer key, compared by its hash in constant time.

Knows hashes of keys, never a key. Without any key the service listens to this machine alone, and
whoever is on it may ask; `serve` refuses every other address.
"""

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request

from app.problems import Problem


def key_hash(key: str) -> str:
    """SHA-256 of a key in hex, as the settings hold it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def is_accepted(key: str, hashes: Sequence[str]) -> bool:
    """Whether the key is one of those with these hashes; takes the same time for any key."""
    given = key_hash(key)
    # All are compared, so that the time does not tell which one it was.
    matches = [hmac.compare_digest(given, known) for known in hashes]
    return any(matches)


def require_key(request: Request) -> None:
    """A dependency: raises a 401 problem unless the request carries an accepted key."""
    hashes: Sequence[str] = request.app.state.settings.api_keys
    if not hashes:
        return
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not is_accepted(key.strip(), hashes):
        raise Problem(
            401,
            "unauthorized",
            "Send an API key as 'Authorization: Bearer <key>'.",
            headers={"WWW-Authenticate": "Bearer"},
        )
