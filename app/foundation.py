"""The foundation: what the API, the worker and the doctor all stand on, made once.

Knows no route and no process.
"""

import math
from dataclasses import dataclass, fields

import redis
from dramatiq.brokers.redis import RedisBroker

from app.broker import MAX_RETRIES, JobQueue, make_broker
from app.conflicts import Conflicts
from app.jobs import Jobs
from app.parts import Parts
from app.reconcile import Reconciler
from app.relevance import RelevanceGate
from app.report_files import ReportFiles
from app.settings import Settings
from app.storage import make_store, open_conflicts, open_library, redis_url
from app.study_shelf import StudyShelf
from app.tally import Tally
from app.tasks import TRANSIENT
from app.work_folders import WorkFolders
from cartridge_store.disk_tier import DiskTier
from cartridge_store.registry import connect
from cartridge_store.store import CartridgeStore
from inference.reader import Reader
from retrieval.documents import DocumentLibrary
from training.settings import TrainingRefused, TrainingSettings


@dataclass(frozen=True)
class Foundation:
    """What the API, the worker and the doctor all stand on."""

    client: redis.Redis
    broker: RedisBroker
    library: DocumentLibrary
    store: CartridgeStore
    jobs: Jobs
    queue: JobQueue
    reader: Reader
    reconciler: Reconciler
    tally: Tally
    shelf: StudyShelf
    work: WorkFolders
    gate: RelevanceGate
    noted: Conflicts

    def close(self) -> None:
        """Close the connections to Redis."""
        self.store.close()
        self.queue.close()
        self.client.close()


def open_foundation(settings: Settings, parts: Parts, disk: DiskTier | None = None) -> Foundation:
    """Connect and load the reader. Raises RegistryUnavailable, ReaderError, StoreError."""
    url, prefix = redis_url(settings), settings.redis_prefix
    client = connect(url)
    broker = make_broker(url, namespace=f"{prefix}dramatiq", retry_when=_worth_retrying)
    library = open_library(settings)
    jobs, queue = Jobs(client, prefix), JobQueue(broker)
    reader = parts.reader(settings)
    store = make_store(settings, client, disk, pinned=reader.device.type == "cuda")
    shelf, work = StudyShelf(settings.data / "studies"), WorkFolders(settings.data / "training")
    noted = open_conflicts(settings)
    reconciler = Reconciler(
        client=client,
        library=library,
        store=store,
        jobs=jobs,
        queue=queue,
        reader=reader,
        reports=ReportFiles(settings.data / "reports"),
        shelf=shelf,
        work=work,
        noted=noted,
        prefix=prefix,
    )
    tally = Tally(client, prefix)
    gate = RelevanceGate(shelf, settings.data / "relevance", settings.refuse)
    return Foundation(
        client,
        broker,
        library,
        store,
        jobs,
        queue,
        reader,
        reconciler,
        tally,
        shelf,
        work,
        gate,
        noted,
    )


def training_settings(settings: Settings) -> TrainingSettings:
    """The recipe that these settings choose. Raises TrainingRefused."""
    chosen = dict(settings.training) | {
        "seed": settings.seed,
        "not_stated": settings.not_stated,
    }
    if settings.compression is not None:
        chosen["compression"] = settings.compression
    known = {field.name: field for field in fields(TrainingSettings)}
    for name, value in chosen.items():
        if name not in known:
            raise TrainingRefused(
                f"CARTRIDGES_TRAINING: there is no {name!r}; choose of {', '.join(known)}."
            )
        usual = known[name].default
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = isinstance(value, type(usual))
        if type(usual) is float:
            fits = number and math.isfinite(value)
        elif type(usual) is int:
            fits = number and isinstance(value, int)
        if not fits:
            raise TrainingRefused(f"CARTRIDGES_TRAINING: {name} is a {type(usual).__name__}.")
    recipe = TrainingSettings(**chosen)
    if not recipe.held_out and recipe.accept_at:
        raise TrainingRefused(
            "Without held_out conversations no cartridge passes its check; choose held_out above 0, or "
            "accept_at 0 to check nothing."
        )
    return recipe


def _worth_retrying(retries: int, error: BaseException) -> bool:
    return retries < MAX_RETRIES and isinstance(error, TRANSIENT)
