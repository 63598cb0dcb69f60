"""A collection trained by a fleet: studies, then groups, then checks, each a round of tasks.

Documents are studied one by one; those that retrieval confuses are grouped and trained together, at most
`group` at a time; each is then checked beside its nearest neighbours, of whatever group. One group that
holds them all gives the very cartridges of `training.collection.distil_collection`. Who is trained
with whom is written down before the first group begins, so that a run that was stopped goes on. This
file knows an executor and a folder that every node sees; it knows no store and no index.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.collection import JOINT, STUDY, Find, Text
from training.company import company_of
from training.fleet.executor import Executor
from training.fleet.grouping import affinity, partition
from training.fleet.task import Json, Task, TaskFailed
from training.fleet.work import ReaderSpec, spec_of
from training.joint import Member
from training.naming import short_digest
from training.room import write_text
from training.settings import Progress, TrainingRefused, TrainingSettings

_WORK = "training.fleet.work"


@dataclass(frozen=True, slots=True)
class Finish:
    """The last task of each document: its work, and what its description holds beside the usual."""

    work: str = f"{_WORK}:check"
    fields: Callable[[Text], Mapping[str, Any]] = lambda _: {}


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a document: its last task's result, or why there was none."""

    name: str
    digest: str
    result: Json | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FleetTraining:
    """What a run is made with. `group` documents at most are trained together, at least 3."""

    executor: Executor
    reader: ReaderSpec
    settings: TrainingSettings
    folder: Path
    group: int = 20
    finish: Finish = Finish()
    progress: Callable[[Progress], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False

    def together(self, texts: Sequence[Text], find: Find) -> Iterator[Finished]:
        """Train texts beside each other; each is yielded when its last task is done.

        Raises TrainingRefused where fewer than two can be trained, Cancelled, TaskFailed, WorkersLost.
        A folder in which groups were settled goes on with these, whatever `texts` are now.
        """
        plan = self._settled() or self._settle(texts, find)
        for name, digest, why in plan["left_out"]:
            yield Finished(name, digest, None, why)
        yield from self._checked(plan, self._trained(plan))

    def alone(self, texts: Sequence[Text]) -> Iterator[Finished]:
        """Train each text for itself; the last task of each is all of it. Raises as `together` does."""
        tasks = [
            Task(
                text.name,
                self.finish.work,
                self._spec(text=spec_of(text)) | dict(self.finish.fields(text)),
                weight=max(1.0, float(len(text.text))),
            )
            for text in texts
        ]
        digests = {text.name: text.digest for text in texts}
        for task_id, result in self._run(tasks, "distillation", 0.0, 1.0):
            if "refused" in result:
                yield Finished(task_id, digests[task_id], None, result["refused"])
            else:
                yield Finished(task_id, digests[task_id], result)

    def _settle(self, texts: Sequence[Text], find: Find) -> Json:
        """Study every text, look up what retrieval brings for its questions, and make the groups."""
        tasks = [
            Task(
                text.name,
                f"{_WORK}:study",
                self._spec(text=spec_of(text)),
                weight=max(1.0, float(len(text.text))),
            )
            for text in texts
        ]
        studies = dict(self._run(tasks, "self-study", 0.0, STUDY))
        known = {text.name: text for text in texts if "questions" in studies[text.name]}
        left_out = [
            (text.name, text.digest, studies[text.name]["refused"])
            for text in texts
            if text.name not in known
        ]
        if len(known) < 2:
            reasons = "; ".join(f"{name}: {why}" for name, _, why in left_out)
            raise TrainingRefused(
                "A collection's training needs at least two documents that can be trained. "
                + reasons
            )
        rivals = {
            name: [[n for n in find(q) if n != name] for q in studies[name]["questions"]]
            for name in known
        }
        groups = partition([*known], affinity(rivals), self.group)
        plan = {
            "groups": [
                {
                    "group": short_digest([[name, known[name].digest] for name in names]),
                    "texts": [spec_of(known[name]) for name in names],
                    "rivals": {name: rivals[name] for name in names},
                }
                for names in groups
            ],
            "left_out": left_out,
        }
        self._list.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._list, json.dumps(plan))
        return plan

    def _settled(self) -> Json | None:
        """The groups of a run that has begun them."""
        if not self._list.exists():
            return None
        plan: Json = json.loads(self._list.read_text(encoding="utf-8"))
        return plan

    def _trained(self, plan: Json) -> dict[str, Json]:
        """Every group's joint training: what is known of each member."""
        tasks = [
            Task(
                f"group-{group['group']}",
                f"{_WORK}:group",
                self._spec(**group),
                weight=float(sum(len(text["text"]) for text in group["texts"])),
            )
            for group in plan["groups"]
        ]
        results = dict(self._run(tasks, "distillation", STUDY, JOINT))
        return {
            member["name"]: member
            for task in tasks  # in the order of the groups, however they ended
            for member in results[task.id]["members"]
        }

    def _checked(self, plan: Json, members: Mapping[str, Json]) -> Iterator[Finished]:
        tasks, digests = [], {}
        for group in plan["groups"]:
            for fields in group["texts"]:
                text = Text(**fields)
                brought = Counter(n for found in group["rivals"][text.name] for n in found)
                neighbours = tuple(n for n, _ in brought.most_common() if n in members)
                known = members[text.name]
                member = Member(text.name, known["tokens"], text.digest, neighbours)
                shown = (text.name, *company_of(member, [*members], self.settings))
                recipe = {"collection_documents": len(members)}
                if len(plan["groups"]) > 1:
                    recipe["group_documents"] = len(group["texts"])
                spec = self._spec(
                    member=asdict(member) | {"neighbours": list(neighbours)},
                    steps=known["steps"],
                    seconds=known["seconds"],
                    slots={name: members[name]["slots"] for name in shown},
                    recipe=recipe,
                )
                tasks.append(
                    Task(text.name, self.finish.work, spec | dict(self.finish.fields(text)))
                )
                digests[text.name] = text.digest
        for task_id, result in self._run(tasks, "check", STUDY + JOINT, 1 - STUDY - JOINT):
            yield Finished(task_id, digests[task_id], result)

    def _run(
        self, tasks: Sequence[Task], stage: str, before: float, share: float
    ) -> Iterator[tuple[str, Json]]:
        def told(done: float) -> None:
            self.progress(Progress(stage, before + share * done))

        try:
            for done in self.executor.run(tasks, progress=told, cancelled=self.cancelled):
                yield done.task_id, done.result
        except TaskFailed as error:
            if error.kind == TrainingRefused.__name__:
                raise TrainingRefused(error.message) from error
            raise

    def _spec(self, **fields: Any) -> Json:
        return {
            "reader": asdict(self.reader),
            "settings": self.settings.to_dict(),
            "folder": str(self.workspace.resolve()),
            **fields,
        }

    @property
    def workspace(self) -> Path:
        """A folder for this reader, these settings and this size of groups."""
        run = [self.reader.as_told, self.settings.to_dict(), self.group]
        return self.folder / short_digest(run)

    @property
    def _list(self) -> Path:
        return self.workspace / "groups.json"
