"""What lies around the routes of the API and of the router alike, from the inside out.

Knows the layers and their order; knows no route.
"""

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from app.body_limit import BodyLimit
from app.guard import Guard
from app.keys import KeyRing
from app.metrics import Metrics
from app.observing import Observing
from app.problems import LastResort
from app.security import Door
from app.settings import Settings

REQUEST_ID = "X-Request-ID"


def wrap(app: FastAPI, settings: Settings, keys: KeyRing, metrics: Metrics) -> None:
    """Bound, admit, mend, tell browsers, guard, observe and number every request."""
    app.add_middleware(BodyLimit, document_bytes=settings.max_upload_bytes)
    app.add_middleware(Door, keys=keys)
    app.add_middleware(LastResort)
    if settings.cors_origins:
        # A browser asks first, without its key: outside of the door.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Location", "ETag", "Retry-After", REQUEST_ID],
        )
    app.add_middleware(Guard, needs_key=lambda: keys.needed, origins=settings.cors_origins)
    app.add_middleware(Observing, metrics=metrics)
    app.add_middleware(CorrelationIdMiddleware, header_name=REQUEST_ID)
