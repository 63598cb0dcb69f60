"""Small stand-ins for the heavy parts: a reader, an engine and a distillation that take no time."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from app.foundation import Foundation, training_settings
from app.parts import Parts
from app.screening import Screening
from app.settings import Settings
from app.storage import open_retriever
from cartridge_store.manifest import PositionRule
from inference.engine import Completion, EngineLoad, Request, Stream
from retrieval.encoder import LexicalEncoder
from training.collection import Outcome, Text
from training.conflicts import Conflict
from training.neighbourhood import Known
from training.pipeline import Distilled
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings

STEPS = 40


@dataclass(frozen=True)
class FakeReader:
    name: str = "fake"
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    max_positions: int = 4096

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def as_told(self) -> str:
        return self.fingerprint

    @property
    def tokenizer_fingerprint(self) -> str:
        return hashlib.sha256(b"tokenizer").hexdigest()

    @property
    def sink(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """Of two layers, one kv head and eight numbers a head, as `fake_distil` makes slots."""
        column = torch.zeros(1, 1, 1, 8)
        return ((column, column),) * 2

    def cut(self, text: str, tokens: int) -> str:
        return " ".join(text.split()[:tokens])

    def count(self, text: str) -> int:
        return len(text.split())


class FakeEngine:
    """Says what it was given: how many cartridges, and the texts themselves."""

    def __init__(self, delay: float = 0.0) -> None:
        self.requests: list[Request] = []
        self.streams: list[Stream] = []
        self.delay = delay
        self.waiting = self.running = 0
        self.ended: str | None = None
        self.cut = False
        self._lock = threading.Lock()

    def submit(self, request: Request) -> Stream:
        self.requests.append(request)
        stream = Stream()
        self.streams.append(stream)
        threading.Thread(target=self._say, args=(request, stream), daemon=True).start()
        return stream

    def _say(self, request: Request, stream: Stream) -> None:
        with self._lock:
            self.running += 1
        try:
            self._answer(request, stream)
        finally:
            with self._lock:
                self.running -= 1

    def _answer(self, request: Request, stream: Stream) -> None:
        words = [f"{len(request.cartridges)} cartridges", " and", f" {len(request.texts)} texts"]
        if "weather" in request.question:
            words = ["That is", " not stated."]
        if "for ever" in request.question:
            words = ["word "] * 10_000
        for word in words:
            time.sleep(self.delay)
            if stream.cancelled.is_set():
                break
            stream.put(word)
        slots = sum(cartridge.slots for cartridge in request.cartridges)
        tokens = sum(len(text.split()) for text in request.texts)
        stream.put(
            Completion(
                "".join(words), tokens, slots, 3, 128 * slots, 0.5, 0.0, 1.0, 2.0, cut=self.cut
            )
        )

    def load(self) -> EngineLoad:
        """Nobody waits, unless a test says so."""
        return EngineLoad(self.waiting, 0, self.running, 0, 0, 1 << 20, 0, 0)

    def trouble(self) -> str | None:
        """None, unless a test says so."""
        return self.ended

    def close(self) -> None:
        pass


def fake_distil(
    reader: Any,
    text: str,
    settings: TrainingSettings,
    *,
    workdir: Path,
    studies: Path | None = None,
    before: Any = None,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> Distilled:
    """Counts steps in a file; unhappy with a text with VAGUE in it.

    Slow for one with SLOW in it; one with ENDLESS is there to be cancelled, and given up after a minute.
    """
    if "UNTRAINABLE" in text:
        raise TrainingRefused("The document cannot be trained on; answer it from its text.")
    if "BROKEN" in text:
        raise RuntimeError("a secret of the inside")
    checkpoint = workdir / "steps.json"
    steps: list[float] = json.loads(checkpoint.read_text()) if checkpoint.exists() else []
    most = 30 * STEPS if "ENDLESS" in text else STEPS if "SLOW" in text else 0
    while len(steps) < most:
        if cancelled():
            raise Cancelled
        steps.append(time.time())
        aside = checkpoint.with_suffix(".tmp")
        aside.write_text(json.dumps(steps))
        aside.replace(checkpoint)
        progress(Progress("distillation", len(steps) / most))
        time.sleep(0.05)
    generator = torch.Generator().manual_seed(settings.seed)
    keys = torch.randn((2, 1, 4, 8), generator=generator).to(torch.bfloat16)
    passed = "VAGUE" not in text
    return Distilled(
        keys=keys,
        values=keys.clone(),
        document_tokens=max(1, len(text.split())),
        position_rule=PositionRule("fixed", 400),
        initialiser="spread",
        recipe={"seed": settings.seed},
        figures={"steps": len(steps), "first_step_at": steps[0] if steps else 0.0},
        passed=passed,
        reason="It answers." if passed else "Too few held-out answers are right.",
    )


def fake_conflicts(reader: Any, text: str, others: Sequence[Known], *_: Any) -> list[Conflict]:
    """A text with STEERS in it turns two answers of each of the others."""
    asked = ("Who serviced the boiler?", "Who has the keys?")
    return [
        Conflict(each.text.name, question, "Franz Huber.", "Mira Tolen.")
        for each in others
        for question in asked
        if "STEERS" in text
    ]


def screening_of(settings: Settings, base: Foundation) -> Screening:
    """As a worker has it."""
    return Screening(
        library=base.library,
        retriever=lambda: open_retriever(settings, make_parts().encoder(), base.library),
        reader=base.reader,
        shelf=base.shelf,
        noted=base.noted,
        settings=training_settings(settings),
        policy=settings.conflicts,
        find=fake_conflicts,
    )


def fake_distil_collection(
    reader: Any,
    texts: Sequence[Text],
    settings: TrainingSettings,
    *,
    workdir: Path,
    find: Callable[[str], Sequence[str]],
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> Iterator[Outcome]:
    """Each text for itself; one that cannot be trained is left out. Says what retrieval brings."""
    for text in texts:
        folder = workdir / text.digest
        folder.mkdir(parents=True, exist_ok=True)
        try:
            trained = fake_distil(
                reader,
                text.text,
                replace(settings, seed=settings.seed + 1),
                workdir=folder,
                progress=progress,
                cancelled=cancelled,
            )
        except TrainingRefused as error:
            yield Outcome(text.name, text.digest, None, str(error))
            continue
        found = replace(trained, figures=trained.figures | {"brought": list(find(text.text))})
        yield Outcome(text.name, text.digest, found, found.reason)


def make_parts(reader: str = "fake", engine: FakeEngine | None = None, **changes: Any) -> Parts:
    """All heavy parts replaced; `engine` is shared when given."""
    chosen: dict[str, Any] = {
        "reader": lambda settings: FakeReader(reader),
        "engine": lambda settings, reader: engine or FakeEngine(),
        "encoder": LexicalEncoder,
        "distil": fake_distil,
        "join": lambda *_, **__: None,
        "distil_collection": fake_distil_collection,
        "draft": lambda *_: None,
        "conflicts": fake_conflicts,
    }
    return Parts(**(chosen | changes))


def make_settings(data: Path, **changes: Any) -> Settings:
    return Settings(data=data, **changes)
