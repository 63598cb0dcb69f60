"""Self-study: the reader asks itself about windows of a document and answers with them in view.

Cartridges (arXiv 2506.06266, section 4.1): a seed prompt of one of five kinds makes participant A
write a message about a chunk; participant B answers it greedily with the chunk in context. Questions
that the text leaves open need the whole document before B may say so. This file knows texts and
conversations; it knows no cartridge.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from inference.decoding import Sampling
from inference.reader import Reader
from training.examples import StudyExample
from training.seeds import SEEDS, SeedKind
from training.settings import TrainingSettings
from training.teacher import answered, asked, batched, score
from training.windows import draw_windows

# Questions make most of the study: every fact has to be asked for. The other kinds vary the use.
_SHARES: dict[SeedKind, float] = {
    "question": 0.5,
    "use_case": 0.2,
    "structuring": 0.06,
    "summarization": 0.06,
    "creative": 0.06,
    "unanswered": 0.12,
}


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
    found: dict[str, Conversation] = {}
    cut: dict[str, Conversation] = {}  # questions without an end: half said, or going in circles
    drawn = 0
    for round_ in range(3):  # questions repeat: draw again until there are enough, within reason
        missing = wanted - len(found)
        if missing <= 0:
            break
        plan = _plan(missing, whole_fits, Random(f"plan/{settings.seed}/{round_}"))
        windows = draw_windows(
            text,
            len(plan),
            smallest=settings.window_min,
            largest=settings.window_max,
            tokens=reader.count,
            seed=settings.seed * 31 + round_,
        )
        by_kind: dict[SeedKind, list[str]] = {}
        for kind, window in zip(plan, windows, strict=True):
            by_kind.setdefault(kind, []).append(window)
        for kind, contexts in by_kind.items():
            for rows in batched(len(contexts), settings.generation_batch):
                batch = [contexts[row] for row in rows]
                sampling = Sampling(
                    settings.max_question, settings.asking_temperature, settings.seed + drawn * 997
                )
                for context, (question, ended) in zip(
                    batch, asked(reader, batch, SEEDS[kind], sampling), strict=True
                ):
                    if question:
                        seen = text if kind == "unanswered" else context
                        kept = found if ended else cut
                        kept.setdefault(question, Conversation(kind, seen, question))
                drawn += len(batch)
                report(min(1.0, len(found) / wanted))
    # A reader that never ends its questions still has to study something.
    conversations = list((found if len(found) >= wanted // 4 else found | cut).values())
    Random(f"order/{settings.seed}").shuffle(conversations)
    return conversations


def _plan(count: int, whole_fits: bool, rng: Random) -> list[SeedKind]:
    shares = {k: s for k, s in _SHARES.items() if whole_fits or k != "unanswered"}
    return rng.choices(list(shares), list(shares.values()), k=count)


def answer(
    reader: Reader,
    conversations: list[Conversation],
    settings: TrainingSettings,
    report: Callable[[float], None],
) -> Iterator[StudyExample]:
    """B's part: greedy answers with the teacher's log-probabilities, batch by batch.

    A window that does not answer its question proves nothing about the document: such a conversation
    is dropped, unless B saw all of the text. So are answers without an end, where enough others have
    one: a reader that goes round in circles teaches nothing.
    """
    ordered = sorted(conversations, key=lambda c: len(c.context))  # similar lengths pad little
    given: list[tuple[Conversation, list[int]]] = []
    for rows in batched(len(ordered), settings.generation_batch):
        batch = [ordered[row] for row in rows]
        contexts, questions = [c.context for c in batch], [c.question for c in batch]
        answers = answered(reader, contexts, questions, settings.max_answer)
        given += [
            (conversation, ids)
            for conversation, ids in zip(batch, answers, strict=True)
            if conversation.kind == "unanswered"
            or reader.decode(ids).strip() != settings.not_stated
        ]
        report(0.8 * rows.stop / len(ordered))
    ended = [(conversation, ids) for conversation, ids in given if ids[-1] == reader.end_id]
    kept = ended if len(ended) * 4 >= len(given) else given
    for rows in batched(len(kept), settings.generation_batch):
        some = [kept[row] for row in rows]
        yield from score(
            reader,
            [conversation.context for conversation, _ in some],
            [conversation.question for conversation, _ in some],
            [ids for _, ids in some],
            [conversation.kind for conversation, _ in some],
            settings.top_k,
        )
        report(0.8 + 0.2 * rows.stop / len(kept))
