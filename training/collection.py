"""A collection's way to cartridges: self-study of every document, joint training, check in company.

Cartridges at Scale (arXiv 2606.04557). Everything a run has made lies in its folder, so that the same
call goes on where it was stopped; once the pool has begun, its members are settled, whatever becomes of
their documents. This file knows a reader, texts and a folder; it knows no store, no queue and no index.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from inference.reader import Reader
from training.beginning import kept_beginning
from training.compaction import is_watchable
from training.company import Slots, checked, company_of
from training.examples import StudyExample, read_examples, seconds_before
from training.joint import JointSettings, JointTraining, Member
from training.naming import short_digest
from training.pipeline import Distilled, first_slots
from training.probing import allotted
from training.room import write_text
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings
from training.studying import kept_study, split_study

Find = Callable[[str], Sequence[str]]
"""Names of the documents that retrieval brings for a question, best first."""

STUDY, JOINT = 0.4, 0.55
"""Shares of the whole; the rest is the check."""
_PROBES = 0.12
"""Share, within that of the studies, of looking how many slots each document needs."""


@dataclass(frozen=True, slots=True)
class Text:
    """A document of the collection. `digest` tells its versions apart and names a file.

    `studies` is the folder where its studies are kept beyond a run; nowhere, where it is empty.
    """

    name: str
    digest: str
    text: str
    studies: str = ""

    @property
    def kept(self) -> Path | None:
        """That folder."""
        return Path(self.studies) if self.studies else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document: its cartridge, or the reason why none was trained."""

    name: str
    digest: str
    distilled: Distilled | None
    reason: str


def distil_collection(
    reader: Reader,
    texts: Sequence[Text],
    settings: TrainingSettings,
    *,
    workdir: Path,
    find: Find,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Distil texts beside each other; every outcome is yielded as it is known.

    Raises TrainingRefused where fewer than two texts can be trained, and Cancelled. A folder in which
    the pool has begun goes on with the members that it began with.
    """
    run = _Run(reader, settings, workdir, find, progress, cancelled)
    settled = run.settled() or run.settle(texts)
    yield from (Outcome(name, digest, None, why) for name, digest, why in settled.left_out)
    joint = run.train(settled, {text.name: text.text for text in texts})
    yield from run.checks(settled, joint)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A member after its joint training: slots in the reader's dtype, and its steps."""

    member: Member
    keys: Tensor
    values: Tensor
    steps: int


def train_together(
    reader: Reader,
    texts: Sequence[Text],
    settings: TrainingSettings,
    *,
    workdir: Path,
    find: Find,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Trained]:
    """The joint training of `distil_collection` without its checks; raises as that does."""
    run = _Run(reader, settings, workdir, find, progress, cancelled)
    settled = run.settled() or run.settle(texts)
    joint = run.train(settled, {text.name: text.text for text in texts})
    for member in settled.members:
        slots = in_dtype(joint.pool.slots(member.name), reader)
        yield Trained(member, *slots, joint.pool.steps[member.name])


def run_folder(reader: Reader, settings: TrainingSettings, workdir: Path) -> Path:
    """Where in `workdir` a run with this reader and these settings keeps all that it makes."""
    return workdir / short_digest([reader.as_told, settings.to_dict()])


def study_file(of: "Text | Member") -> str:
    """The name of a document's study in its run's folder: of equal texts, each has rivals of its own."""
    return f"{of.digest}-{short_digest(of.name)}.parquet"


def in_dtype(slots: tuple[Tensor, Tensor], reader: Reader) -> Slots:
    """Trained slots as they are served."""
    keys, values = slots
    return keys.to(reader.dtype), values.to(reader.dtype)


def as_begun(reader: Reader, settings: TrainingSettings) -> TrainingSettings:
    """The settings of those who learn beside each other: with what they begin by as the initialiser.

    That is `joint_initialiser`, but for compaction by a reader whose attention cannot be watched.
    """
    first = settings.joint_initialiser
    if first == "compaction" and not is_watchable(reader):
        first = settings.initialiser
    return replace(settings, initialiser=first)


@dataclass(frozen=True, slots=True)
class _Settled:
    """Who is trained; `left_out` are names and digests with reasons. `steps` is the whole run's."""

    members: tuple[Member, ...]
    left_out: tuple[tuple[str, str, str], ...]
    steps: int


class _Run:
    """One collection's training in its folder; everything depends on reader and settings."""

    def __init__(
        self,
        reader: Reader,
        settings: TrainingSettings,
        workdir: Path,
        find: Find,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        settings.require_positions(reader.max_positions)
        self._reader, self._settings, self._find = reader, settings, find
        self._beginning = as_begun(reader, settings)
        self._progress, self._cancelled = progress, cancelled
        self._folder = run_folder(reader, settings, workdir)
        self._list = self._folder / "members.json"

    def settled(self) -> _Settled | None:
        """The members of a pool that has begun."""
        if not self._list.exists():
            return None
        listed: dict[str, Any] = json.loads(self._list.read_text(encoding="utf-8"))
        members = tuple(
            Member(**fields | {"neighbours": tuple(fields["neighbours"])})
            for fields in listed["members"]
        )
        left_out = tuple((name, digest, why) for name, digest, why in listed["left_out"])
        return _Settled(members, left_out, listed["steps"])

    def settle(self, texts: Sequence[Text]) -> _Settled:
        """Study every text; those that can be trained are the members."""
        self._folder.mkdir(parents=True, exist_ok=True)
        members: list[Member] = []
        left_out: list[tuple[str, str, str]] = []
        steps = 0
        for index, text in enumerate(texts):
            try:
                examples = self._studied(text, index / len(texts), 1 / len(texts))
            except TrainingRefused as error:
                left_out.append((text.name, text.digest, str(error)))
                continue
            brought = Counter(name for example in examples for name in example.rivals)
            neighbours = tuple(name for name, _ in brought.most_common())
            members.append(
                Member(text.name, self._reader.count(text.text), text.digest, neighbours)
            )
            steps += self._settings.steps(len(split_study(examples, self._settings)[1]))
        if len(members) < 2:
            reasons = "; ".join(f"{name}: {why}" for name, _, why in left_out)
            raise TrainingRefused(
                "A collection's training needs at least two documents that can be trained. "
                + reasons
            )
        known = {member.name for member in members}
        trained = tuple(
            replace(member, neighbours=tuple(n for n in member.neighbours if n in known))
            for member in members
        )
        wanted = max(1, round(steps * self._settings.joint_share))
        if self._settings.adaptive:
            trained = allotted(
                self._reader,
                trained,
                {text.name: text.text for text in texts},
                self._examples,
                self._beginning,  # slots tell as much as where they start from lets them
                self._folder / "probes",
                lambda done: self._say("probing", STUDY - _PROBES * (1 - done)),
            )
        return _Settled(trained, tuple(left_out), wanted)

    def train(self, settled: _Settled, texts: dict[str, str]) -> JointTraining:
        """The joint run to its end."""
        settings, reader = self._settings, self._reader
        by_name = {member.name: member for member in settled.members}
        recipe = JointSettings.of(
            settings,
            steps=settled.steps,
            pool=max(2, min(settings.pool, len(settled.members))),
            learning_rate=settings.joint_rate,
        )
        # Named by its members and recipe: those of another time, or release, have a pool of their own.
        folder = self._folder / f"joint-{short_digest([asdict(settled), asdict(recipe)])}"

        def made(member: Member) -> Slots:
            wanted, text = member.slots or settings.slots(member.tokens), texts[member.name]
            return first_slots(reader, text, wanted, self._beginning, self._study(member))

        def first(name: str) -> Slots:
            self._say("distillation", STUDY)
            member = by_name[name]
            path = self._folder / f"first-{folder.name}-{short_digest(name)}.safetensors"
            return kept_beginning(path, lambda: made(member))

        joint = JointTraining(
            reader,
            settled.members,
            lambda name: self._study(by_name[name]),
            first,
            recipe,
            folder,
        )
        for path in self._folder.glob("first-*"):
            path.unlink(missing_ok=True)  # the pool has them
        # From here on texts are not needed: the pool holds everybody's first slots.
        if not self._list.exists():
            write_text(self._list, json.dumps(asdict(settled)))
        joint.run(
            lambda done: self._progress(Progress("distillation", STUDY + JOINT * done)),
            self._cancelled,
        )
        return joint

    def checks(self, settled: _Settled, joint: JointTraining) -> Iterator[Outcome]:
        """Every member's check, alone and in company."""
        names = [member.name for member in settled.members]
        for index, member in enumerate(settled.members):
            self._say("check", STUDY + JOINT + 0.05 * index / len(names))
            company = company_of(member, names, self._settings)
            distilled = checked(
                self._reader,
                self._beginning,
                member,
                {
                    name: in_dtype(joint.pool.slots(name), self._reader)
                    for name in (member.name, *company)
                },
                self._examples(member),
                steps=joint.pool.steps[member.name],
                recipe={"collection_documents": len(names)},
                studied_before=seconds_before(self._path(member)),
            )
            yield Outcome(member.name, member.digest, distilled, distilled.reason)

    def _studied(self, text: Text, before: float, share: float) -> list[StudyExample]:
        """The text's study, with what retrieval brings for each of its questions."""

        until = STUDY - _PROBES * self._settings.adaptive

        def reported(done: float) -> None:
            self._say("self-study", until * (before + share * done))

        if self._reader.count(text.text) < 4:
            raise TrainingRefused("it is too short to train on; answer it from its text.")
        path, annotate = self._path(text), with_rivals(text.name, self._find)
        return kept_study(
            self._reader, text.text, self._settings, path, reported, annotate, text.kept
        )

    def _study(self, member: Member) -> list[StudyExample]:
        return split_study(self._examples(member), self._settings)[1]

    def _examples(self, member: Member) -> list[StudyExample]:
        return read_examples(self._path(member))

    def _path(self, of: Text | Member) -> Path:
        return self._folder / study_file(of)

    def _say(self, stage: str, done: float) -> None:
        if self._cancelled():
            raise Cancelled
        self._progress(Progress(stage, done))


def with_rivals(name: str, find: Find) -> Callable[[list[StudyExample]], list[StudyExample]]:
    """Writes to each example of a document's study which other documents retrieval brings for it."""

    def annotate(examples: list[StudyExample]) -> list[StudyExample]:
        return [
            replace(e, rivals=tuple(n for n in find(e.question) if n != name)) for e in examples
        ]

    return annotate
