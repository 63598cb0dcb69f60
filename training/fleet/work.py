"""The work of training as tasks: a document's study, a group's joint training, checks, isolated training.

A description names a reader, settings and a folder that every node sees; what is made lies there, whole
or not at all, and is found again by a task that is done twice. This file knows no executor and no store.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from cartridge_store.blobs import LocalBlobs
from inference.reader import Reader, as_told, load_reader
from training.collection import (
    JOINT,
    STUDY,
    Text,
    as_begun,
    run_folder,
    study_file,
    train_together,
)
from training.company import Slots, checked
from training.examples import StudyExample, read_examples, seconds_before, write_examples
from training.fleet.task import Context, Json
from training.joint import Member
from training.naming import short_digest
from training.pipeline import Distilled, distil
from training.settings import Progress, TrainingRefused, TrainingSettings
from training.studying import kept_study

_PATIENCE_SECONDS = 120.0
_STUDIES, _GROUPS, _ALONE = "studies", "groups", "isolated"


@dataclass(frozen=True, slots=True)
class ReaderSpec:
    """How a worker gets the reader: path or hub name, device, format; what it must be and is told."""

    name: str
    device: str
    dtype: str
    fingerprint: str
    instructions: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What a worker keeps the reader under."""
        return ("reader", self.name, self.device, self.dtype, self.instructions)

    @property
    def as_told(self) -> str:
        """As the reader's own."""
        return as_told(self.fingerprint, self.instructions)


def study(spec: Json, context: Context) -> Json:
    """A document's self-study, kept in the folder: its `questions` in order, or why it was `refused`."""
    reader, settings = reader_of(spec, context), settings_of(spec)
    text = Text(**spec["text"])
    try:
        examples = _studied(reader, text, settings, Path(spec["folder"]), context)
    except TrainingRefused as error:
        return {"refused": str(error)}
    return {"questions": [example.question for example in examples]}


def group(spec: Json, context: Context) -> Json:
    """The joint training of a group: each member's tokens, steps, share of seconds and file of slots."""
    reader, settings = reader_of(spec, context), settings_of(spec)
    texts = [Text(**text) for text in spec["texts"]]
    began = time.monotonic()
    folder = Path(spec["folder"])
    own = folder / _GROUPS / spec["group"]
    with _alone_in(own):
        studies = run_folder(reader, settings, own)
        studies.mkdir(parents=True, exist_ok=True)
        for text in texts:
            path = studies / study_file(text)
            if not path.exists():
                examples = _studied(reader, text, settings, folder, context, told=False)
                rivals = spec["rivals"][text.name]
                pairs = zip(examples, rivals, strict=True)
                write_examples(path, [replace(e, rivals=tuple(found)) for e, found in pairs])
        blobs = LocalBlobs(own / "slots")
        members = []
        for number, trained in enumerate(
            train_together(
                reader,
                texts,
                settings,
                workdir=own,
                find=lambda _: (),
                progress=lambda progress: _training(progress, context),
                cancelled=context.cancelled,
            )
        ):
            file = f"{number}.safetensors"
            blobs.put(file, _as_bytes(trained.keys, trained.values))
            members.append(
                {
                    "name": trained.member.name,
                    "tokens": trained.member.tokens,
                    "steps": trained.steps,
                    "slots": f"{_GROUPS}/{spec['group']}/slots/{file}",
                }
            )
    seconds = (time.monotonic() - began) / len(members)
    return {"members": [member | {"seconds": seconds} for member in members]}


def check(spec: Json, context: Context) -> Json:
    """A trained member's held-out check, alone and in company: see `described`."""
    return described(checked_member(spec, context))


def isolated(spec: Json, context: Context) -> Json:
    """A document trained for itself, its slots kept in the folder: see `described`, or `refused`."""
    text = Text(**spec["text"])
    try:
        distilled = distilled_alone(spec, context)
    except TrainingRefused as error:
        return {"refused": str(error)}
    file = f"{text.digest}-{short_digest(text.name)}.safetensors"
    blobs = LocalBlobs(Path(spec["folder"]) / _ALONE / "slots")
    blobs.put(file, _as_bytes(distilled.keys, distilled.values))
    return described(distilled) | {"slots": f"{_ALONE}/slots/{file}"}


def checked_member(spec: Json, context: Context) -> Distilled:
    """A member of a trained collection with its check, from the files of its group and its company."""
    reader, settings = reader_of(spec, context), settings_of(spec)
    folder = Path(spec["folder"])
    member = Member(**spec["member"] | {"neighbours": tuple(spec["member"]["neighbours"])})
    studied_at = _study_of(folder, member.digest)
    context.report(0.0)
    return checked(
        reader,
        as_begun(reader, settings),
        member,
        {name: read_slots(folder / file) for name, file in spec["slots"].items()},
        read_examples(studied_at),
        steps=spec["steps"],
        recipe=spec["recipe"],
        studied_before=seconds_before(studied_at),
    )


def distilled_alone(spec: Json, context: Context) -> Distilled:
    """A document trained for itself; goes on from its checkpoint in the folder."""
    reader, settings = reader_of(spec, context), settings_of(spec)
    text = Text(**spec["text"])
    own = Path(spec["folder"]) / _ALONE / f"{text.digest}-{short_digest(text.name)}"
    with _alone_in(own):
        return distil(
            reader,
            text.text,
            settings,
            workdir=own,
            progress=lambda progress: context.report(progress.done),
            cancelled=context.cancelled,
            studies=text.kept,
        )


def described(distilled: Distilled) -> Json:
    """What a task says of a cartridge: whether it `passed`, the `reason` and its `figures`."""
    return {
        "passed": distilled.passed,
        "reason": distilled.reason,
        "figures": distilled.figures,
    }


def reader_of(spec: Json, context: Context) -> Reader:
    """The description's reader, loaded once by each worker. Raises TrainingRefused, ReaderError."""
    wanted = ReaderSpec(**spec["reader"])

    def loaded() -> Reader:
        return load_reader(
            wanted.name,
            device=wanted.device,
            dtype=wanted.dtype,
            instructions=wanted.instructions,
        )

    reader = context.keep(wanted.key, loaded)
    if reader.fingerprint != wanted.fingerprint:
        raise TrainingRefused(
            f"The reader {wanted.name!r} of this node is not the service's; give every node the same."
        )
    return reader


def settings_of(spec: Json) -> TrainingSettings:
    """The description's settings. Raises TrainingRefused."""
    return TrainingSettings(**spec["settings"])


def read_slots(path: Path) -> Slots:
    """Keys and values `[layers, kv_heads, slots, head_dim]` that a task has kept."""
    tensors = load(bytes(LocalBlobs(path.parent).get(path.name)))
    return tensors["keys"], tensors["values"]


def spec_of(text: Text) -> dict[str, Any]:
    """A text as a part of a description."""
    return asdict(text)


def _studied(
    reader: Reader,
    text: Text,
    settings: TrainingSettings,
    folder: Path,
    context: Context,
    *,
    told: bool = True,
) -> list[StudyExample]:
    """The text's study in the folder, made where it is not there yet."""
    if reader.count(text.text) < 4:
        raise TrainingRefused("it is too short to train on; answer it from its text.")
    path = _study_of(folder, text.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    report = context.report if told else lambda _: context.report(0.0)
    return kept_study(reader, text.text, settings, path, report, studies=text.kept)


def _study_of(folder: Path, digest: str) -> Path:
    """Where a text's study lies that every group with it reads."""
    return folder / _STUDIES / f"{digest}.parquet"


def _training(progress: Progress, context: Context) -> None:
    # The group's part of the progress is its steps; its studies were made before.
    if progress.stage == "distillation":
        context.report(max(0.0, min(1.0, (progress.done - STUDY) / JOINT)))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else is at work in the folder: a node that was given up may not know it yet.

    Waits a while for whoever is; raises TimeoutError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > patience:
                    raise TimeoutError(f"Another task is at work in {folder}; end it.") from None
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def _as_bytes(keys: Tensor, values: Tensor) -> bytes:
    return bytes(save({"keys": keys.contiguous(), "values": values.contiguous()}))
