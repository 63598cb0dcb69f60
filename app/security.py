"""Access to the routes: who asks, and what they may do.

Without any key the service listens to this machine alone, and whoever is on it may ask; `serve` refuses
every other address. A key that is bound to collections learns nothing of others, not even whether they
exist: it gets the same answer either way. Knows requests and keys; knows no collection's content.
"""

from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from app.keys import ANYBODY, Access, KeyRing, Scope
from app.problems import OPENAI_ROUTES, Problem


def access_by(keys: KeyRing, authorization: str) -> Access | None:
    """What the bearer of an Authorization header may do; None for nothing."""
    if not keys.needed:
        return ANYBODY
    scheme, _, key = authorization.partition(" ")
    return keys.access(key.strip()) if scheme.lower() == "bearer" else None


def unauthorized() -> Problem:
    """What is said to who brings no accepted key."""
    return Problem(
        401,
        "unauthorized",
        "Send an API key as 'Authorization: Bearer <key>'.",
        headers={"WWW-Authenticate": "Bearer"},
    )


class Door:
    """Wraps an ASGI app: who needs a key and has none is refused before a byte of the request is read.

    Inside of what answers errors and pages of other origins, which are to be told so.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/") and self._keys.needed:
            access = access_by(self._keys, Headers(scope=scope).get("authorization", ""))
            if access is None:
                openai = scope["path"].startswith(OPENAI_ROUTES)
                await unauthorized().response(openai=openai)(scope, receive, send)
                return
            scope.setdefault("state", {})["access"] = access
        await self._app(scope, receive, send)


def access_of(request: Request) -> Access:
    """Who asks. Raises a 401 problem unless the request carries an accepted key, where one is needed."""
    found: Access | None = getattr(request.state, "access", None)
    if found is not None:
        return found
    access = access_by(request.app.state.keys, request.headers.get("authorization", ""))
    if access is None:
        raise unauthorized()
    request.state.access = access
    return access


def limited(request: Request, access: Annotated[Access, Depends(access_of)]) -> None:
    """A dependency: raises a 429 problem for a key that sends too many requests."""
    request.app.state.api.rates.require(access.key_id)


class Needs:
    """A dependency: raises a 403 problem unless the key has the scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __call__(self, access: Annotated[Access, Depends(access_of)]) -> Access:
        if not access.may(self.scope):
            raise Problem(403, "forbidden", f"This key has not the scope '{self.scope}'.")
        return access


Reading = Annotated[Access, Depends(Needs("read"))]
Writing = Annotated[Access, Depends(Needs("write"))]
Administering = Annotated[Access, Depends(Needs("admin"))]


def require_collection(access: Access, collection: str) -> None:
    """Raise a 403 problem for a collection that the key is not for, whether or not it exists."""
    if not access.sees(collection):
        raise Problem(403, "forbidden", "This key is not for that collection.")
