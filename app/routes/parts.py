"""What the routes share: the wired parts, as a dependency, and opaque cursors."""

import base64
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from app.keys import Access
from app.problems import Problem
from app.schemas import Id
from app.wiring import Api

CollectionName = Id
DocumentId = Annotated[Id, Path(examples=["boiler"])]


def wired(request: Request) -> Api:
    """The parts that the application's start has opened."""
    api: Api = request.app.state.api
    return api


Wired = Annotated[Api, Depends(wired)]


_MAX_KEY = 255

Cursor = Annotated[
    str | None,
    Query(
        pattern=r"^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2,3})?$",
        max_length=400,
        description="Go on behind the page whose next_cursor this is.",
    ),
]


IdempotencyKey = Annotated[str | None, Header()]


def own_key(access: Access, idempotency_key: str | None) -> str | None:
    """An idempotency key as that of whoever sent it: others' equal ones are other keys.

    Raises a problem, 422, for one that is empty or too long.
    """
    if idempotency_key is None:
        return None
    if not 0 < len(idempotency_key) <= _MAX_KEY:
        raise Problem(422, "bad-idempotency-key", f"The key has 1 to {_MAX_KEY} characters.")
    return f"{access.key_id}/{idempotency_key}"


def to_cursor(last_id: str) -> str:
    """An opaque cursor that goes on behind this id."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def from_cursor(cursor: str | None) -> str | None:
    """The id that a cursor goes on behind; one that nobody was given goes on somewhere."""
    if cursor is None:
        return None
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("utf-8", "replace")
