"""How many questions a second each arm answers with several on the way together.

Waves of arms take turns, so that whatever else the machine does falls on all alike. Knows answering; knows
no score and no file.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.answering import Answering
from app.asked import Question
from evaluation.report.costs import Throughput
from inference.requests import GenerationFailed, RequestRefused
from retrieval.errors import DocumentCorrupt, DocumentNotFound, QuestionRefused

NOT_ASKED = (
    RequestRefused,
    QuestionRefused,
    GenerationFailed,
    DocumentNotFound,
    DocumentCorrupt,
)
"""Why a question gets no answer, and a report goes on all the same."""

_WAVES = 3
QUESTIONS_EACH = 2  # in a wave, for each that is on the way together


def throughput(
    answering: Answering,
    questions: Mapping[str, Sequence[Question]],
    concurrency: int,
    report: Callable[[float], None],
) -> list[Throughput]:
    """Each arm's answers and new tokens a second, over all its waves; `report` may raise to stop.

    `questions` are by arm; as many are asked as the concurrency fills twice, the same in every wave.
    An arm that answers none is left out.
    """
    asked = {
        arm: _several(each, concurrency * QUESTIONS_EACH) for arm, each in questions.items() if each
    }
    seconds = dict.fromkeys(asked, 0.0)
    answers, tokens = dict.fromkeys(asked, 0), dict.fromkeys(asked, 0)
    with ThreadPoolExecutor(concurrency, "report") as pool:
        for wave in range(_WAVES):
            for place, arm in enumerate(sorted(asked, reverse=bool(wave % 2))):
                report((wave + place / len(asked)) / _WAVES)
                began = time.perf_counter()
                said = [*pool.map(lambda question: _tokens(answering, question), asked[arm])]
                seconds[arm] += time.perf_counter() - began
                answers[arm] += sum(each is not None for each in said)
                tokens[arm] += sum(each or 0 for each in said)
    return [
        Throughput(arm, concurrency, answers[arm] / seconds[arm], tokens[arm] / seconds[arm])
        for arm in asked
        if answers[arm]
    ]


def _several(questions: Sequence[Question], count: int) -> list[Question]:
    return [questions[number % len(questions)] for number in range(count)]


def _tokens(answering: Answering, question: Question) -> int | None:
    try:
        completion = answering.ask(question).answer().completion
    except NOT_ASKED:
        return None
    return 0 if completion is None else completion.completion_tokens
