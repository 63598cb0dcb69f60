"""Self-study: the reader asks itself about windows of a document and answers with them in view.

Cartridges (arXiv 2506.06266, section 4.1): a seed prompt of one of five kinds makes participant A
write a message about a chunk; participant B answers it greedily with the chunk in context. There
chunks are drawn at random; here each next window holds the sentence least asked about so far,
because a fact that nobody asks for is not learned. Questions that the text leaves open need the
whole document before B may say so. This file knows texts and conversations; it knows no cartridge.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from inference.decoding import Sampling
from inference.reader import Reader
from training.examples import StudyExample
from training.seeds import SEEDS, SeedKind
from training.settings import TrainingSettings
from training.teacher import Answer, answered, asked, batched
from training.windows import Windows

# Questions make most of the study: every fact has to be asked for. The other kinds vary the use.
_SHARES: dict[SeedKind, float] = {
    "question": 0.54,
    "use_case": 0.2,
    "structuring": 0.06,
    "summarization": 0.06,
    "creative": 0.06,
    "unanswered": 0.08,
}


_ROUNDS = 4  # questions repeat: draw again until there are enough, within reason,
_BOLDER = 0.1  # and with more temperature each time


@dataclass(frozen=True, slots=True)
class Conversation:
    """What A asked about a window, and the context that B will see."""

    kind: SeedKind
    context: str
    question: str


def ask(
    reader: Reader, text: str, settings: TrainingSettings, report: Callable[[float], None]
) -> list[Conversation]:
    """A's part: distinct questions about windows of `text`, in an order fixed by the seed."""
    document_tokens = reader.count(text)
    wanted = settings.conversations(document_tokens)
    # Whether something is left open can be told only from all of the text.
    whole_fits = document_tokens <= min(2_048, reader.max_positions // 4)
    windows = Windows(text, reader.count)
    times_asked = [0] * len(windows)
    found: dict[str, Conversation] = {}
    cut: dict[str, Conversation] = {}  # questions without an end: half said, or going in circles
    for round_ in range(_ROUNDS):
        missing = wanted - len(found)
        if missing <= 0:
            break
        rng = Random(f"round/{settings.seed}/{round_}")
        plan = [
            (windows.at(start, _budget(settings, rng)), start, kind)
            for start, kind in zip(
                _least_asked(times_asked, missing, rng),
                _kinds(missing, whole_fits, rng),
                strict=True,
            )
        ]
        plan.sort(key=lambda planned: len(planned[0]))  # similar lengths pad little
        for rows in batched(len(plan), settings.generation_batch):
            some = [plan[row] for row in rows]
            sampling = Sampling(
                settings.max_question,
                settings.asking_temperature + _BOLDER * round_,
                Random(f"sample/{settings.seed}/{round_}/{rows.start}").getrandbits(31),
            )
            contexts, seeds = [window for window, _, _ in some], [SEEDS[kind] for *_, kind in some]
            for (window, start, kind), (question, ended) in zip(
                some, asked(reader, contexts, seeds, sampling), strict=True
            ):
                kept = found if ended else cut
                if question and question not in kept:
                    seen = text if kind == "unanswered" else window
                    kept[question] = Conversation(kind, seen, question)
                    times_asked[start] += ended and kind != "unanswered"
            report(min(1.0, len(found) / wanted))
    # A reader that never ends its questions still has to study something.
    conversations = list((found if len(found) >= wanted // 4 else found | cut).values())
    Random(f"order/{settings.seed}").shuffle(conversations)
    return conversations


def _budget(settings: TrainingSettings, rng: Random) -> int:
    """Tokens of a window: small sizes are as likely as large ones."""
    low, high = math.log(settings.window_min), math.log(settings.window_max)
    return round(math.exp(rng.uniform(low, high)))


def _least_asked(times_asked: list[int], count: int, rng: Random) -> list[int]:
    """`count` indices, always one of those with the fewest questions so far and in this plan."""
    heap = [(times, rng.random(), index) for index, times in enumerate(times_asked)]
    heapq.heapify(heap)
    chosen: list[int] = []
    for _ in range(count):
        times, _, index = heap[0]
        heapq.heapreplace(heap, (times + 1, rng.random(), index))
        chosen.append(index)
    return chosen


def _kinds(count: int, whole_fits: bool, rng: Random) -> list[SeedKind]:
    shares = {k: s for k, s in _SHARES.items() if whole_fits or k != "unanswered"}
    return rng.choices(list(shares), list(shares.values()), k=count)


def answer(
    reader: Reader,
    conversations: list[Conversation],
    settings: TrainingSettings,
    report: Callable[[float], None],
) -> Iterator[StudyExample]:
    """B's part: greedy answers with the teacher's log-probabilities.

    A window that does not answer its question proves nothing about the document: such a conversation
    is dropped, unless B saw all of the text. So are answers without an end (a reader that goes round in
    circles teaches nothing) and answers that B was not sure of (a guess is no lesson), where enough
    others remain: a large reader's free wording holds many tokens that it could have put otherwise.
    """
    ordered = sorted(conversations, key=lambda c: len(c.context))
    given: list[tuple[Conversation, Answer]] = []
    for rows in batched(len(ordered), settings.generation_batch):
        batch = [ordered[row] for row in rows]
        contexts, questions = [c.context for c in batch], [c.question for c in batch]
        answers = answered(reader, contexts, questions, settings.max_answer, settings.top_k)
        given += [
            (conversation, answer)
            for conversation, answer in zip(batch, answers, strict=True)
            if conversation.kind == "unanswered"
            or reader.decode(answer.ids).strip() != settings.not_stated
        ]
        report(rows.stop / len(ordered))
    ended = [pair for pair in given if pair[1].ids[-1] == reader.end_id]
    kept = ended if len(ended) * 4 >= len(given) else given
    least = math.log(settings.sure_at)
    sure = [pair for pair in kept if pair[1].top_logprobs[:, 0].min() >= least]
    for conversation, answer in sure if len(sure) * 2 >= len(kept) else kept:
        yield StudyExample(
            conversation.kind,
            tuple(reader.chat.question(conversation.question)),
            answer.ids,
            answer.top_ids,
            answer.top_logprobs,
        )
