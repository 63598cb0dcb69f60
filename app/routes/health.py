"""/health: whether the process lives, and whether everything that it needs answers."""

import os

import redis
from fastapi import APIRouter, Request

from app.problems import Problem
from app.routes.parts import Wired
from app.schemas import Health
from cartridge_store.errors import StoreError

router = APIRouter(prefix="/health", tags=["health"])


@router.head("/live", include_in_schema=False)  # as load balancers ask
@router.get("/live")
async def live() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
def ready(request: Request, api: Wired) -> Health:
    """Redis, the data folder, the cartridges' store and the reader answer; else 503 with which do not."""
    reader = api.engine.trouble() or "ok"
    dependencies = {"reader": reader, "redis": "ok", "storage": "ok", "cartridges": "ok"}
    try:
        api.base.jobs.ping()
    except redis.RedisError:
        dependencies["redis"] = "Redis does not answer; check that it runs."
    if not os.access(request.app.state.settings.data, os.W_OK):
        dependencies["storage"] = "The data folder cannot be written; check its permissions."
    try:
        api.base.store.probe()
    except StoreError:
        dependencies["cartridges"] = "The store of cartridges does not answer."
    down = [name for name, state in dependencies.items() if state != "ok"]
    if down:
        raise Problem(
            503,
            "not-ready",
            f"Not ready: {', '.join(down)}.",
            headers={"Retry-After": "5"},
            more={"dependencies": dependencies},
        )
    return Health(status="ready", dependencies=dependencies)
