"""Self-study: the reader asks itself about windows of a document and answers with them in view.

Cartridges (arXiv 2506.06266, section 4.1): a seed prompt of one of five kinds makes participant A
write a message about a chunk; participant B answers it greedily with the chunk in context. There
chunks are drawn at random; here each next window holds the sentence that fewest answers are about,
because a fact that nobody asks for is not learned. Questions that the text leaves open need the
whole document before B may say so. This file knows texts and answers; it knows no cartridge.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import cycle
from pathlib import Path
from random import Random

from inference.composer import Composition
from inference.reader import Reader
from inference.sampling import Sampling
from training.examples import StudyExample, sureness
from training.revision import Revision
from training.seeds import SeedKind, seeds_for
from training.settings import TrainingSettings
from training.study_batches import StudyBatch, StudyBatches
from training.teacher import Answer, answered, asked, batched, read
from training.windows import Windows

# Questions make most of the study: every fact has to be asked for. The other kinds vary the use. Beside
# these stand the settings' share of questions that the text leaves open.
_SHARES: dict[SeedKind, float] = {
    "question": 0.587,
    "use_case": 0.217,
    "structuring": 0.065,
    "summarization": 0.065,
    "creative": 0.065,
}

Report = Callable[[float], None]
_WAY = 2
"""Counts up when the same settings give other windows or questions: no half-made study goes on then."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What A is asked to talk about: the window that begins at piece `start`."""

    kind: SeedKind
    start: int
    window: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What A asked, and whether its question came to an end."""

    topic: Topic
    question: str
    ended: bool = True


class Grade(IntEnum):
    """How good an answer is: going on without an end, a guess, or one that B is sure of."""

    ENDLESS = 0
    GUESSED = 1
    SURE = 2


def study(
    reader: Reader,
    text: str,
    settings: TrainingSettings,
    report: Callable[[float], None],
    since: Revision | None = None,
    folder: Path | None = None,
) -> list[StudyExample]:
    """Distinct questions about all of `text` with B's answers; same reader, text and seed, same result.

    Those of the first round, which no difficulty has selected, come first: what checks a cartridge is
    taken from there. With `since`, what is left of an earlier text's study counts, and sentences that it
    did not have are asked about first. `report` is told the share that is done, 0 to 1, and may raise to
    stop; what is done by then lies in `folder`, which is to go with the study. Raises StorageFull.
    """
    batches = StudyBatches(folder, _decided_by(reader, text, settings, since))
    document_tokens = reader.count(text)
    wanted = settings.conversations(document_tokens)
    # Whether something is left open can be told only from all of the text.
    whole_fits = document_tokens <= min(2_048, reader.max_positions // 4)
    windows = Windows(text, reader.count)
    learned = [0] * len(windows)  # examples kept for each piece
    known: set[str] = set()
    kept: list[StudyExample] = []
    if since is not None:
        share = math.ceil(wanted / len(windows))
        learned = [share * (index in since.covered) for index in range(len(windows))]
        known = {example.question for example in since.kept}
        # What checks the cartridge is nothing that the earlier one has learned: enough has to be new.
        unlearned = settings.held_out - since.held_out
        wanted = max(wanted - len(since.kept), share * learned.count(0), unlearned)
    least: Grade | None = None
    for round_ in range(settings.rounds):
        missing = wanted - len(kept)
        if missing <= 0:
            break
        rng = Random(f"round/{settings.seed}/{round_}")
        plan = [
            Topic(kind, start, windows.at(start, _budget(settings, rng)))
            for start, kind in zip(
                _least(learned, missing, rng),
                _kinds(missing, round_, settings.unanswered if whole_fits else 0.0, rng),
                strict=True,
            )
        ]
        done, left = 1 - 0.25**round_, 0.75 * 0.25**round_  # most is done by the first round

        def told(share: float, done: float = done, left: float = left) -> None:
            report(done + left * share)

        graded = list(converse(reader, text, plan, settings, round_, known, told, batches))
        least = _standard([grade for _, grade, _ in graded]) if least is None else least
        rng.shuffle(graded)  # answers come sorted by length
        for topic, grade, example in graded:
            if grade >= least:
                kept.append(example)
                learned[topic.start] += topic.kind != "unanswered"
    report(1.0)
    return kept if since is None else _mixed(kept, since, settings)


def _decided_by(
    reader: Reader, text: str, settings: TrainingSettings, since: Revision | None
) -> list[object]:
    """All that a study's batches depend on."""
    earlier = since and [
        sorted(since.covered),
        [each.question for each in since.kept],
        since.held_out,
    ]
    return [_WAY, reader.as_told, settings.of_study(), text, earlier]


def _mixed(
    new: list[StudyExample], since: Revision, settings: TrainingSettings
) -> list[StudyExample]:
    """New examples and those that still hold; the first ones, held out for the check, are of both.

    What was held out before is held out again or left out: it is never learned, because the text may
    become what it was. Where too little is new, it checks more than once: what was learned is no check.
    """
    held_out, old = settings.held_out, since.kept[: since.held_out]
    fresh = max(min(held_out // 2, len(new) // 2), held_out - len(old))
    unlearned, learned = [*old[: held_out - fresh], *new], since.kept[since.held_out :]
    again = cycle([*unlearned])
    while unlearned and len(unlearned) < min(held_out, (len(unlearned) + len(learned)) // 4):
        unlearned.append(next(again))
    return [*unlearned, *learned]


def converse(
    reader: Reader,
    text: str,
    topics: Sequence[Topic],
    settings: TrainingSettings,
    round_: int,
    known: set[str],
    report: Report,
    batches: StudyBatches,
) -> Iterator[tuple[Topic, Grade, StudyExample]]:
    """A asks about each topic's window of `text`, and B answers; a window is read once for both.

    Equal questions are one, asked of the longest window, which is likeliest to answer it; those in `known`
    are not asked again, and new ones become known. What a window may leave open is answered from all of the
    text, at the end. A batch that `batches` has is not made again.
    """
    # Similar lengths pad little, and what does not fit into memory fails at once.
    plan = sorted(topics, key=lambda topic: -len(topic.window))
    left_open: list[Conversation] = []
    whole = len(plan) + sum(topic.kind == "unanswered" for topic in plan)
    for rows in batched(len(plan), settings.generation_batch):
        some = plan[rows.start : rows.stop]

        def talk(some: Sequence[Topic] = some, rows: range = rows) -> StudyBatch:
            def half_done() -> None:
                report((rows.start + rows.stop) / (2 * whole))

            sampling = Sampling(
                settings.max_question,
                settings.asking_temperature + settings.bolder * round_,
                Random(f"sample/{settings.seed}/{round_}/{rows.start}").getrandbits(31),
            )
            return _talked(reader, some, sampling, settings, known, half_done)

        batch = batches.get(f"{round_}-{rows.start}", talk)
        known.update(batch.asked)
        left_open += [Conversation(some[place], *said) for place, said in batch.left_open]
        yield from _graded(batch, some)
        report(rows.stop / whole)
    whole_text: dict[str, Composition] = {}
    for rows in batched(len(left_open), settings.generation_batch):
        open_ = left_open[rows.start : rows.stop]

        def ask_all(open_: Sequence[Conversation] = open_) -> StudyBatch:
            if not whole_text:
                whole_text.update(read(reader, [text]))
            prefixes = dict.fromkeys((each.topic.window for each in open_), whole_text[text])
            return _answered(reader, prefixes, [*enumerate(open_)], settings)

        batch = batches.get(f"{round_}-open-{rows.start}", ask_all)
        yield from _graded(batch, [each.topic for each in open_])
        report((len(plan) + rows.stop) / whole)


def _talked(
    reader: Reader,
    topics: Sequence[Topic],
    sampling: Sampling,
    settings: TrainingSettings,
    known: Collection[str],
    half_done: Callable[[], None],
) -> StudyBatch:
    """One batch of both parts; what its windows leave open is asked and not answered."""
    prefixes = read(reader, (topic.window for topic in topics))
    talked = [*enumerate(ask(reader, prefixes, topics, sampling))]
    if sum(each.ended for _, each in talked) * 2 >= len(talked):
        # Whatever the answer to a question that was cut: it would be kept only where most are.
        talked = [(place, each) for place, each in talked if each.ended]
    new = {
        each.question: (place, each)
        for place, each in reversed(talked)
        if each.question and each.question not in known
    }
    half_done()
    left_open = [each for each in new.values() if each[1].topic.kind == "unanswered"]
    closed = [each for each in new.values() if each[1].topic.kind != "unanswered"]
    return replace(
        _answered(reader, prefixes, closed, settings),
        asked=[*new],
        left_open=[(place, (each.question, each.ended)) for place, each in left_open],
    )


def _answered(
    reader: Reader,
    prefixes: Mapping[str, Composition],
    conversations: Sequence[tuple[int, Conversation]],
    settings: TrainingSettings,
) -> StudyBatch:
    said = [*answer(reader, prefixes, [each for _, each in conversations], settings)]
    return StudyBatch(
        examples=[example for _, _, example in said],
        places=[conversations[number][0] for number, _, _ in said],
        grades=[int(grade) for _, grade, _ in said],
    )


def _graded(
    batch: StudyBatch, topics: Sequence[Topic]
) -> Iterator[tuple[Topic, Grade, StudyExample]]:
    for place, grade, example in zip(batch.places, batch.grades, batch.examples, strict=True):
        yield topics[place], Grade(grade), example


def ask(
    reader: Reader, prefixes: Mapping[str, Composition], topics: Sequence[Topic], sampling: Sampling
) -> list[Conversation]:
    """A's part: a question about each topic's window, by the windows' prefixes."""
    prompts = seeds_for(reader.chat.instructions)
    windows, seeds = [prefixes[t.window] for t in topics], [prompts[t.kind] for t in topics]
    return [
        Conversation(topic, question, ended)
        for topic, (question, ended) in zip(
            topics, asked(reader, windows, seeds, sampling), strict=True
        )
    ]


def answer(
    reader: Reader,
    prefixes: Mapping[str, Composition],
    conversations: Sequence[Conversation],
    settings: TrainingSettings,
) -> Iterator[tuple[int, Grade, StudyExample]]:
    """B's part: greedy answers with the teacher's log-probabilities, and how good they are.

    A window that does not answer its question proves nothing about the document: such a conversation
    is dropped, unless B saw all of the text; the others come with their places. What B sees is in
    `prefixes`, by the topics' windows.
    """
    if not conversations:
        return
    seen = [prefixes[each.topic.window] for each in conversations]
    questions = [each.question for each in conversations]
    answers = answered(reader, seen, questions, settings.max_answer, settings.top_k)
    for place, (conversation, said) in enumerate(zip(conversations, answers, strict=True)):
        kind, question = conversation.topic.kind, conversation.question
        if kind != "unanswered" and _is_left_open(reader.decode(said.ids), settings.not_stated):
            continue
        prompt = tuple(reader.chat.question(question))
        example = StudyExample(kind, prompt, said.ids, said.top_ids, said.top_logprobs, question)
        ended = conversation.ended and said.ids[-1] in reader.end_ids
        yield place, _grade(said, ended, settings), example


def _is_left_open(answer: str, not_stated: str) -> bool:
    """Whether an answer begins by saying so, as general readers do: "That is not stated in the text."."""
    return answer.strip().casefold().startswith(not_stated.rstrip(".").casefold())


def _grade(said: Answer, ended: bool, settings: TrainingSettings) -> Grade:
    if not ended:
        return Grade.ENDLESS
    sure = sureness(said.top_logprobs) >= settings.sure_at
    return Grade.SURE if sure else Grade.GUESSED


def _standard(grades: Sequence[Grade]) -> Grade:
    """The grade asked for, from what the first round has.

    A guess is no lesson, and neither is a reader that goes round in circles. But a large reader's
    free wording holds many tokens that it could have put otherwise, and one that never ends still
    has to study something.
    """
    if sum(grade == Grade.SURE for grade in grades) * 2 >= len(grades):
        return Grade.SURE
    if sum(grade >= Grade.GUESSED for grade in grades) * 4 >= len(grades):
        return Grade.GUESSED
    return Grade.ENDLESS


def _budget(settings: TrainingSettings, rng: Random) -> int:
    """Tokens of a window: small sizes are as likely as large ones."""
    low, high = math.log(settings.window_min), math.log(settings.window_max)
    return round(math.exp(rng.uniform(low, high)))


def _least(times: Sequence[int], count: int, rng: Random) -> list[int]:
    """`count` indices, always one of those with the smallest number, itself and this plan counted."""
    heap = [(number, rng.random(), index) for index, number in enumerate(times)]
    heapq.heapify(heap)
    chosen: list[int] = []
    for _ in range(count):
        number, _, index = heap[0]
        heapq.heapreplace(heap, (number + 1, rng.random(), index))
        chosen.append(index)
    return chosen


def _kinds(count: int, round_: int, unanswered: float, rng: Random) -> list[SeedKind]:
    """Kinds by their shares; rounds after the first fill gaps, and questions fill them best."""
    if round_:
        return rng.choices(
            ["question", "use_case"], [_SHARES["question"], _SHARES["use_case"]], k=count
        )
    weights = {kind: share * (1 - unanswered) for kind, share in _SHARES.items()}
    weights["unanswered"] = unanswered
    return rng.choices([*weights], [*weights.values()], k=count)
