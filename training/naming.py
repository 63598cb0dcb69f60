"""Names for what a run makes, from what it is made of. Knows JSON; knows no file."""

import hashlib
import json


def short_digest(what: object) -> str:
    """Sixteen hex digits that tell one JSON value from another."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
