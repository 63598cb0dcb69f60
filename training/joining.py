"""A document joins a trained collection: its cartridge learns beside the others, which stay as they are.

Most of its rows ask about itself, the others (`guard`) about those already there, with the newcomer
beside them: a newcomer that learned its own questions only takes everybody's. Afterwards old and new are
checked in company. Neighbours that answer fewer of their held-out questions than before learn along for
some steps; where that does not help, the newcomer does not pass. This file knows a reader, texts and the
slots that serve; it knows no store and no index.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference.reader import Reader
from training.collection import Find, Text, in_dtype, with_rivals
from training.company import Slots
from training.examples import StudyExample, seconds_before
from training.joint import OWN_SECOND_MOMENT, Frozen, JointSettings, JointTraining, Member
from training.naming import short_digest
from training.neighbourhood import NOTICED, Known, Neighbourhood, Serving, judged
from training.pipeline import Distilled, first_slots
from training.room import write_text
from training.settings import Cancelled, Progress, TrainingRefused, TrainingSettings
from training.studies import Studies
from training.studying import kept_study, split_study

_STUDY, _JOIN, _REPLAY = 0.4, 0.4, 0.15
"""Shares of the whole; the rest is checks."""
_ASKED = 12
"""Questions of a neighbour by which it is found out whom retrieval brings beside it."""


@dataclass(frozen=True, slots=True, eq=False)
class Relearned:
    """A neighbour that learned along with a newcomer, in place of the cartridge that `replaces` names."""

    text: Text
    replaces: str
    distilled: Distilled


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The newcomer's cartridge, and those of neighbours without which it is not to be published."""

    distilled: Distilled
    relearned: tuple[Relearned, ...] = ()


Company = Callable[[Sequence[str], int], Sequence[Serving]]
"""At most so many documents of the collection that serve: those named, in that order, then others."""


def join(
    reader: Reader,
    text: Text,
    company: Company,
    settings: TrainingSettings,
    *,
    workdir: Path,
    find: Find,
    before: Serving | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Joined | None:
    """Train `text` beside what serves already; None where nothing does.

    `find` names the documents that retrieval brings for a question; `before` is what the document was
    before it changed, to start from. Everything that is made lies in `workdir`, and the same call goes on
    from there; for another company the training, not the study, begins anew. Raises TrainingRefused,
    Cancelled.
    """
    settings.require_positions(reader.max_positions)
    tokens = reader.count(text.text)
    if tokens < 4:
        raise TrainingRefused("The document is too short to train on; answer it from its text.")
    if not company((), 1):
        return None

    def told(stage: str, before: float, share: float) -> Callable[[float], None]:
        def say(done: float) -> None:
            if cancelled():
                raise Cancelled
            progress(Progress(stage, before + share * done))

        return say

    run = _Joining(reader, text, settings, workdir, find, told, cancelled)
    studied_at, examples = run.study()
    brought = Counter(name for example in examples for name in example.rivals)
    nearest = tuple(name for name, _ in brought.most_common())
    serving = company(nearest, settings.join_company)
    if not serving:  # deleted meanwhile
        return None
    member = Member(text.name, tokens, text.digest, nearest)
    return run.among(serving, member, examples, seconds_before(studied_at), before)


Told = Callable[[str, float, float], Callable[[float], None]]


class _Joining:
    def __init__(
        self,
        reader: Reader,
        text: Text,
        settings: TrainingSettings,
        workdir: Path,
        find: Find,
        told: Told,
        cancelled: Callable[[], bool],
    ) -> None:
        self._reader, self._text, self._settings, self._find = reader, text, settings, find
        self._workdir, self._told, self._cancelled = workdir, told, cancelled
        self._nearest: dict[str, tuple[str, ...]] = {}  # of those beside whom it learns

    def study(self) -> tuple[Path, list[StudyExample]]:
        """The newcomer's study with what retrieval brings for each question, and its file."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        # Of this text by this reader in this way; anything else is studied anew.
        run = [self._reader.as_told, self._text.digest, self._settings.of_study()]
        path = self._workdir / f"examples-{short_digest(run)}.parquet"
        return path, kept_study(
            self._reader,
            self._text.text,
            self._settings,
            path,
            self._told("self-study", 0.0, _STUDY),
            with_rivals(self._text.name, self._find),
            self._text.kept,
        )

    def among(
        self,
        serving: Sequence[Serving],
        member: Member,
        examples: list[StudyExample],
        studied_before: float,
        former: Serving | None,
    ) -> Joined:
        """Learn beside those who serve, look at what it costs them, and mend what it does."""
        settings, name = self._settings, member.name
        known = {each.text.name: Known(each.text, self._studied(each.text)) for each in serving}
        ids = {each.text.name: each.cartridge for each in serving}
        self._nearest = self._brought(known, ids)
        known[name] = Known(self._text, examples)
        slots = {each.text.name: each.slots for each in serving}
        frozen = [*slots]
        share = settings.join_share * (1.0 if former is None else settings.update_share)
        steps = self._steps(examples, share)
        wanted = settings.slots(member.tokens)

        def first(_: str) -> Slots:
            if former is not None:
                return former.slots
            learned = split_study(examples, settings)[1]
            return first_slots(self._reader, self._text.text, wanted, settings, learned)

        begun = [former.cartridge if former is not None else "", ids]
        slots |= self._learn(
            [member], known, first, slots, frozen, steps, "joining", (_STUDY, _JOIN), begun
        )
        around = Neighbourhood(self._reader, settings, name, slots)
        say = self._told("check", _STUDY + _JOIN, 0.0)
        neighbours = [known[each] for each in frozen if known[each].examples][: settings.beside]
        before, after = {}, {}
        for each in neighbours:
            say(0.0)
            before[each.text.name] = around.agreed(each, without_newcomer=True)
            after[each.text.name] = around.agreed(each)

        lost = {each: before[each] - after[each] for each in before}
        harmed = sorted((n for n in lost if lost[n] > NOTICED), key=lambda n: -lost[n])
        again = harmed[: settings.replay_most]
        alone: dict[str, float] = {}
        if again:
            alone = {each: around.alone(known[each]) for each in again}
            members = [member] + [
                Member(
                    each, self._reader.count(known[each].text.text), ids[each], self._nearest[each]
                )
                for each in again
            ]
            left = [each for each in frozen if each not in again]
            replay = self._steps(examples, share * settings.replay_share)
            place = (_STUDY + _JOIN, _REPLAY)
            around.slots |= self._learn(
                members, known, slots.__getitem__, slots, left, replay, "replay", place, begun
            )
            after = {each.text.name: around.agreed(each) for each in neighbours}
            # What one has lost for itself counts as much as what it has lost in company.
            for each_, was in alone.items():
                lost_alone = was - around.alone(known[each_])
                after[each_] = min(after[each_], before[each_] - lost_alone)
            steps += replay
        found = around.checked(known[name], steps, studied_before, member.neighbours)
        found = judged(found, before, after, settings)
        relearned = []
        for each_ in again:
            along = around.checked(known[each_], replay, 0.0)
            if not along.passed and min(alone[each_], before[each_]) < settings.accept_at:
                # It serves without passing in this company already: it is held to what it was (`harm`).
                along = replace(along, passed=True)
            elif not along.passed and found.passed:
                words = f"{each_}, which learned along: {along.reason}."
                found = replace(found, passed=False, reason=words)
            relearned.append(Relearned(known[each_].text, ids[each_], along))
        return Joined(found, tuple(relearned))

    def _studied(self, text: Text) -> list[StudyExample]:
        """A neighbour's study, where it is kept."""
        if text.kept is None:
            return []
        return Studies(text.kept).known(self._reader, text.text, self._settings) or []

    def _brought(
        self, known: Mapping[str, Known], ids: Mapping[str, str]
    ) -> dict[str, tuple[str, ...]]:
        """Of each neighbour the documents that retrieval brings for some of its questions, the most often
        brought first.

        Of all questions it would take as long as the training of the newcomer. What was brought once
        is kept for this company: a run that goes on has the rows that it began with.
        """
        path = self._workdir / f"nearest-{short_digest([self._text.digest, dict(ids)])}.json"
        if not path.exists():
            found = {}
            for name, each in known.items():
                some = each.examples[:: max(1, len(each.examples) // _ASKED)][:_ASKED]
                brought = Counter(other for one in some for other in self._find(one.question))
                found[name] = [other for other, _ in brought.most_common() if other != name]
            write_text(path, json.dumps(found))
        return {name: tuple(others) for name, others in json.loads(path.read_text("utf-8")).items()}

    def _steps(self, examples: Sequence[StudyExample], share: float) -> int:
        learned = split_study(examples, self._settings)[1]
        return max(1, round(self._settings.steps(len(learned)) * share))

    def _learn(
        self,
        members: Sequence[Member],
        known: dict[str, Known],
        first: Callable[[str], Slots],
        slots: dict[str, Slots],
        frozen: Sequence[str],
        steps: int,
        stage: str,
        place: tuple[float, float],
        begun: list[Any],
    ) -> dict[str, Slots]:
        """The members' slots after so many steps beside those who are frozen.

        `begun` says which cartridges it began with.
        """
        settings = self._settings
        learned = {name: split_study(each.examples, settings)[1] for name, each in known.items()}
        # One that learns alone is in every row of a batch, as in its own training.
        single = len(members) == 1
        recipe = JointSettings.of(
            settings,
            steps=steps,
            pool=max(2, len(members)),
            learning_rate=settings.learning_rate if single else settings.replay_rate,
        )
        if single:
            recipe = replace(recipe, second_moment=OWN_SECOND_MOMENT)
        beside = [
            Frozen(
                each,
                known[each].text.digest,
                *slots[each],
                learned[each],
                self._nearest[each],
            )
            for each in frozen
        ]
        # A folder of its own for each company: what has begun among others is another run.
        run = [
            [[each.name, each.digest] for each in members],
            [[each.name, each.digest, bool(each.examples)] for each in beside],
            [begun, asdict(recipe), settings.to_dict()],
        ]
        joint = JointTraining(
            self._reader,
            members,
            learned.__getitem__,
            lambda name: _as_trained(first(name)),
            recipe,
            self._workdir / f"{stage}-{short_digest(run)}",
            frozen=beside,
        )
        joint.run(self._told(stage, *place), self._cancelled)
        return {each.name: in_dtype(joint.pool.slots(each.name), self._reader) for each in members}


def _as_trained(slots: Slots) -> Slots:
    keys, values = slots
    return keys.float(), values.float()
