"""What the routes share: the wired parts, as a dependency, and opaque cursors."""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request
from pydantic import Field

from app.problems import Problem
from app.wiring import Api

CollectionName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]


def wired(request: Request) -> Api:
    """The parts that the application's start has opened."""
    api: Api = request.app.state.api
    return api


Wired = Annotated[Api, Depends(wired)]


def to_cursor(last_id: str) -> str:
    """An opaque cursor that goes on behind this id."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def from_cursor(cursor: str | None) -> str | None:
    """The id that a cursor goes on behind. Raises a 422 problem for any other text."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError) as error:
        raise Problem(
            422, "bad-cursor", "The cursor is not one; use next_cursor of the page before."
        ) from error
