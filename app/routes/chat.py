"""/v1/chat/completions and /v1/models, as OpenAI's clients know them.

A model's name chooses the collection: `cartridge-qa` is the default one, `cartridge-qa/house` is the
collection house. The question is the last message; what was said before is not read. Knows OpenAI's forms;
knows nothing of how an answer is made.
"""

import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from app.asked import Answer, Asked, Question
from app.keys import Access
from app.openai_schemas import (
    ChatIn,
    ChatOut,
    Choice,
    ModelList,
    ModelOut,
    Said,
    Usage,
)
from app.problems import Problem, openai_body
from app.routes.asking import answered, broken_off, counted, streamed
from app.routes.asking import asked as handed_in
from app.routes.outputs import source_out
from app.routes.parts import Wired
from app.security import Reading, require_collection
from app.wiring import Api
from inference.engine import Sampling
from retrieval.documents import check_id
from retrieval.errors import DocumentRefused

router = APIRouter(tags=["openai"])

MODEL = "cartridge-qa"
_MAX_TOKENS = 96
_MOST_TOKENS = 1_024  # of clients whose defaults are for larger models


@router.get("/models")
def list_models(api: Wired, access: Reading) -> ModelList:
    """The default collection and every other one that the key is for, each as a model."""
    names = [f"{MODEL}/{n}" for n in api.documents.collections(access.sees) if n != "default"]
    return ModelList(data=[_model(name) for name in ([MODEL] * access.sees("default") + names)])


@router.get("/models/{model:path}")
def get_model(api: Wired, access: Reading, model: str) -> ModelOut:
    """One model."""
    _require_model(api, access, _collection(model), model)
    return _model(model)


@router.post("/chat/completions", response_model=ChatOut)
async def complete(
    request: Request, api: Wired, access: Reading, body: ChatIn
) -> ChatOut | EventSourceResponse:
    """Answer the last message from the documents of a collection.

    The answer carries its `sources`, and so does the chunk that ends a stream.
    """
    question = _question(request, body, body.question)
    if body.collection is None:
        require_collection(access, question.collection)
        await run_in_threadpool(_require_model, api, access, question.collection, body.model)
    asked = await handed_in(api, access, question)
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return streamed(_chunks(request, asked, body.model, usage=usage), asked, sep="\n")
    return _completion(await answered(request, asked), body)


def _question(request: Request, body: ChatIn, text: str) -> Question:
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    seed = request.app.state.settings.seed if body.seed is None else body.seed
    return Question(
        text=text,
        collection=body.collection or _collection(body.model),
        mode=body.mode,
        documents=tuple(body.cartridges) if body.cartridges else None,
        top_k=body.top_k,
        sampling=Sampling(
            min(body.max_completion_tokens or body.max_tokens or _MAX_TOKENS, _MOST_TOKENS),
            body.temperature or 0.0,
            seed,
            body.top_p or 1.0,
            stop,
        ),
    )


def _completion(answer: Answer, body: ChatIn) -> ChatOut:
    return ChatOut(
        id=_id(),
        created=int(time.time()),
        model=body.model,
        choices=[Choice(message=Said(content=answer.text), finish_reason=_ended(answer))],
        usage=_usage(answer),
        sources=[source_out(source) for source in answer.sources],
        abstained=answer.abstained,
        notices=list(answer.notices),
    )


async def _chunks(
    request: Request, asked: Asked, model: str, *, usage: bool
) -> AsyncIterator[ServerSentEvent]:
    head = {
        "id": _id(),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def chunk(
        delta: dict[str, str], reason: str | None = None, more: Mapping[str, Any] | None = None
    ) -> ServerSentEvent:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return ServerSentEvent(json.dumps(head | {"choices": [choice]} | dict(more or {})))

    try:
        yield chunk({"role": "assistant", "content": ""})
        async for text in iterate_in_threadpool(asked):
            if text:
                yield chunk({"content": text})
        answer = counted(request, await run_in_threadpool(asked.answer))
        more = {
            "sources": [source_out(source).model_dump() for source in answer.sources],
            "abstained": answer.abstained,
            "notices": list(answer.notices),
        }
        yield chunk({}, _ended(answer), more)
        if usage:
            yield ServerSentEvent(
                json.dumps(head | {"choices": [], "usage": _usage(answer).model_dump()})
            )
        yield ServerSentEvent("[DONE]")
    except Exception as error:
        yield ServerSentEvent(json.dumps(openai_body(broken_off(request, error))))
    finally:
        asked.cancel()  # the client may have gone: then nobody reads the rest


def _ended(answer: Answer) -> Literal["stop", "length"]:
    completion = answer.completion
    return "length" if completion and completion.cut else "stop"


def _usage(answer: Answer) -> Usage:
    completion = answer.completion
    prompt, said, slots = (
        (completion.prompt_tokens, completion.completion_tokens, completion.cartridge_slots)
        if completion
        else (0, 0, 0)
    )
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=said,
        total_tokens=prompt + said,
        cartridge_slots=slots,
    )


def _collection(model: str) -> str:
    """The collection that a model's name chooses. Raises a 404 problem for a name of no model."""
    name, _, collection = model.partition("/")
    if name != MODEL:
        raise _unknown(model)
    try:
        return check_id(collection, "collection name") if "/" in model else "default"
    except DocumentRefused as error:
        raise _unknown(model) from error


def _require_model(api: Api, access: Access, collection: str, model: str) -> None:
    """Raise a 404 problem for a collection that is not there; the default one always is."""
    if collection != "default" and not api.documents.has_collection(collection):
        raise _unknown(model)
    if not access.sees(collection):
        raise _unknown(model)


def _unknown(model: str) -> Problem:
    return Problem(
        404, "model_not_found", f"There is no model {model[:80]}; GET /v1/models lists them."
    )


def _model(id: str) -> ModelOut:
    return ModelOut(id=id, created=0, owned_by=MODEL)


def _id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"
