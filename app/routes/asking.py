"""What every route that asks shares: who may ask what, and when there is room.

Knows access, admission and answering; knows no form of a request or an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.asked import Answer, Asked, Question
from app.keys import Access
from app.metrics import Metrics
from app.problems import Problem, not_found, problem_of
from app.security import require_collection
from app.tracing import trace_answer
from app.wiring import Api

logger = logging.getLogger(__name__)


async def asked(api: Api, access: Access, question: Question) -> Asked:
    """Hand a question to the engine.

    Raises a 403 problem for a collection that the key is not for, a 404 one for one that is not there, a
    429 one when too many wait, and what `Answering.ask` raises.
    """
    require_collection(access, question.collection)
    await run_in_threadpool(require_there, api, question.collection)
    with api.admission.entering():
        return await run_in_threadpool(api.answering.ask, question)


def require_there(api: Api, collection: str) -> None:
    """Raise a 404 problem for a collection that is not there; the default one always is.

    "Not stated" to a misspelt name would look like an answer.
    """
    if collection != "default" and not api.documents.has_collection(collection):
        raise not_found(f"collection {collection}")


async def answered(request: Request, asked: Asked) -> Answer:
    """The whole answer, counted. Who has gone is not waited for: the engine stops at the next token, and
    what nobody reads is no answer to count."""
    gone = asyncio.Event()

    async def cancel_when_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()
        asked.cancel()

    watching = asyncio.create_task(cancel_when_gone())
    try:
        answer = await run_in_threadpool(asked.answer)
        return answer if gone.is_set() else counted(request, answer)
    finally:
        watching.cancel()
        asked.cancel()  # changes nothing for an answer that is whole


def streamed(
    events: AsyncIterator[ServerSentEvent], asked: Asked, *, sep: str | None = None
) -> EventSourceResponse:
    """The answer as `events`, given up as soon as the client has gone, whatever it waits for then."""

    async def gone(_: object) -> None:
        asked.cancel()

    return EventSourceResponse(events, sep=sep, client_close_handler_callable=gone)


def broken_off(request: Request, error: Exception) -> Problem:
    """The problem that ends a stream, counted: its status was said before, and was no error's."""
    logger.error("A streamed answer broke off.", exc_info=error)
    problem = problem_of(error)
    metrics: Metrics = request.app.state.metrics
    metrics.broken.labels(problem.code).inc()
    return problem


def counted(request: Request, answer: Answer) -> Answer:
    """The answer, after it was counted and traced."""
    metrics: Metrics = request.app.state.metrics
    metrics.answers.labels(answer.mode, str(answer.abstained).lower()).inc()
    for source in answer.sources:
        metrics.sources.labels(source.via).inc()
    completion = answer.completion
    if completion is not None:
        metrics.first_token.labels(answer.mode).observe(completion.first_token_ms / 1e3)
        metrics.tokens.labels("prompt").inc(completion.prompt_tokens)
        metrics.tokens.labels("slots").inc(completion.cartridge_slots)
        metrics.tokens.labels("completion").inc(completion.completion_tokens)
    trace_answer(request.app, answer)
    return answer
