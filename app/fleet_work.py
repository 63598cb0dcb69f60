"""The service's work as tasks of a fleet: publish what was trained, ask a part of a report's questions.

Done in a worker on any node that has the service's data folder and its `CARTRIDGES_*` variables. A task
that is done twice publishes once: the second finds its very tensors serving and leaves them, and of two
at the same time both make the same content-addressed cartridge, which the store promotes once.
"""

import time
from dataclasses import dataclass

from app.answering import Answering
from app.foundation import Foundation, open_foundation, training_settings
from app.jobs import Subject
from app.parts import Parts
from app.publishing import Publisher, unpublished
from app.report_files import ReportFiles
from app.reporting import Reporting
from app.settings import Settings
from app.storage import open_retriever
from app.wiring import open_answering
from cartridge_store.errors import CartridgeRefused, LostRace
from training.fleet.task import Context, Json
from training.fleet.work import checked_member, reader_of


@dataclass(frozen=True)
class Station:
    """What a worker keeps of the service: its settings, parts and foundation."""

    settings: Settings
    parts: Parts
    base: Foundation


def publish(spec: Json, context: Context) -> Json:
    """Check a trained member and publish it where it passes: what a job says of it, and `passed`."""
    base = _station(spec, context).base
    publisher = Publisher(base.library, base.store, base.reader)
    subject = Subject(**spec["subject"]) if spec["subject"] is not None else None
    if subject is None or publisher.wanted(subject) is None:
        return unpublished("The document was deleted or has a newer version.")
    began = time.monotonic()
    distilled = checked_member(spec, context)
    seconds = spec["seconds"] + time.monotonic() - began
    try:
        result = publisher.publish(subject, distilled, seconds)
    except (LostRace, CartridgeRefused) as error:
        result = unpublished(str(error))  # the others are none the worse
    return result | {"passed": distilled.passed}


def ask(spec: Json, context: Context) -> Json:
    """Ask a report's questions from `first` to `last`, whose records are kept in its folder."""
    station = _station(spec, context)
    settings, parts, base = station.settings, station.parts, station.base

    def answering() -> Answering:
        retriever = open_retriever(settings, parts.encoder(), base.library)
        return open_answering(settings, base, retriever, parts.engine(settings, base.reader))

    reporting = Reporting(
        answering=lambda: context.keep("answering", answering),
        library=base.library,
        store=base.store,
        reader=base.reader,
        files=ReportFiles(settings.data / "reports"),
        settings=training_settings(settings),
        shelf=base.shelf,
    )
    reporting.ask(
        spec["report"],
        spec["run"],
        range(spec["first"], spec["last"]),
        lambda progress: context.report(progress.done),
        context.cancelled,
    )
    return {}


def _station(spec: Json, context: Context) -> Station:
    """Opened once by each worker, with the reader that training has."""

    def opened() -> Station:
        settings = Settings().of_a_worker()
        parts = Parts(reader=lambda _: reader_of(spec, context))
        return Station(settings, parts, open_foundation(settings, parts))

    return context.keep("station", opened)
