"""/v1/answers: ask a question, for one answer or for a stream of it."""

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from app.asked import Asked, Question
from app.routes.asking import answered, broken_off, counted, streamed
from app.routes.asking import asked as handed_in
from app.routes.outputs import answer_out, source_out
from app.routes.parts import Wired
from app.schemas import AnswerOut, QuestionIn, SourcesEvent, TokenEvent
from app.security import Reading
from inference.engine import Sampling

router = APIRouter(tags=["answers"])


@router.post("/answers", response_model=AnswerOut)
async def answer_question(
    request: Request, api: Wired, access: Reading, body: QuestionIn
) -> AnswerOut | EventSourceResponse:
    """Answer from the documents that fit the question.

    With `stream`, server-sent events: `sources` once, `token` for every piece of text, `done` with
    the whole answer; `error` with a problem when it breaks off. In mode auto an answer from
    cartridges is heard when it is whole, and may be read again from passages: then the sources are
    those of `done`.
    """
    question = Question(
        text=body.question,
        collection=body.collection,
        mode=body.mode,
        documents=tuple(body.documents) if body.documents else None,
        top_k=body.top_k,
        sampling=Sampling(
            body.max_tokens,
            body.temperature,
            request.app.state.settings.seed if body.seed is None else body.seed,
            body.top_p,
            tuple(body.stop),
        ),
    )
    asked = await handed_in(api, access, question)
    if body.stream:
        return streamed(_events(request, asked), asked)
    return answer_out(await answered(request, asked))


async def _events(request: Request, asked: Asked) -> AsyncIterator[ServerSentEvent]:
    try:
        opening = SourcesEvent(
            mode=asked.mode,
            sources=[source_out(source) for source in asked.sources],
            notices=list(asked.notices),
        )
        yield ServerSentEvent(opening.model_dump_json(), event="sources")
        async for text in iterate_in_threadpool(asked):
            if not text:
                continue
            yield ServerSentEvent(TokenEvent(text=text).model_dump_json(), event="token")
        answer = counted(request, await run_in_threadpool(asked.answer))
        yield ServerSentEvent(answer_out(answer).model_dump_json(), event="done")
    except Exception as error:
        yield ServerSentEvent(json.dumps(broken_off(request, error).body()), event="error")
    finally:
        # The client may have gone: then nobody reads the rest.
        asked.cancel()
