"""The router as a running server, for as long as a block lasts. Knows when it may listen to whom."""

import contextlib
from collections.abc import Iterator

from app.keys import KeyRing
from app.listening import ServiceError, listen, served, url_of
from app.parts import Parts
from app.router.main import create_router
from app.settings import Settings
from app.storage import redis_url, require_redis
from inference.threads import compute_alone


@contextlib.contextmanager
def routed(settings: Settings, parts: Parts | None = None, *, search: bool = True) -> Iterator[str]:
    """A router at the settings' address, which is given.

    Raises ServiceError, RegistryUnavailable, and what making the encoder raises.
    """
    if not settings.is_loopback and not KeyRing(settings.data, settings.api_keys).needed:
        raise ServiceError(
            f"Without API keys a router listens to this machine only, not to {settings.host}; set "
            "CARTRIDGES_API_KEYS or the replicas' CARTRIDGES_DATA, or use the host 127.0.0.1."
        )
    require_redis(redis_url(settings))
    compute_alone()  # questions are encoded by whichever thread they arrive in
    with listen(settings.host, settings.port) as listening:
        app = create_router(settings, parts, search=search)
        with served(app, listening, app.state.closing, settings.trusted_proxies):
            yield url_of(listening)
