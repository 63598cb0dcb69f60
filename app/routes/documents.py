"""/v1/documents: take documents in, list them, show, train and remove one."""

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated

import anyio.to_thread
import redis
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile

from app.documents import NotHeld, View
from app.jobs import Job
from app.problems import Problem, no_json, unavailable
from app.routes.outputs import document_out, job_out
from app.routes.parts import (
    CollectionName,
    Cursor,
    DocumentId,
    IdempotencyKey,
    Wired,
    from_cursor,
    own_key,
    to_cursor,
)
from app.routes.preconditions import IfMatch, IfNoneMatch, etag, required
from app.schemas import DocumentAccepted, DocumentIn, DocumentOut, DocumentPage, UploadFields
from app.security import Reading, Writing, require_collection
from app.wiring import Api
from cartridge_store.errors import RegistryUnavailable
from retrieval.documents import Require, id_of_name
from retrieval.parsing import Parsed

router = APIRouter(tags=["documents"])

_FORM = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "format": "binary"},
        **{
            name: UploadFields.model_json_schema()["properties"][name]
            for name in ("collection", "id", "title", "known_by")
        },
    },
}
_UNICODE = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": DocumentIn.model_json_schema()},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


@router.post("/documents", status_code=202, openapi_extra=_BODY)
async def add_document(
    request: Request,
    response: Response,
    api: Wired,
    access: Writing,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> DocumentAccepted:
    """Store a text and start its training; it can be asked about at once, by its text.

    The same content again is no change. `If-Match` and `If-None-Match` make sure that nobody else's version
    is replaced; with an `Idempotency-Key`, sending again gets the first answer.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found: Parsed | None = None
    if kind == "multipart/form-data":
        document, found = await _uploaded(request, api)
    elif kind == "application/json":
        body = await request.body()
        # Of megabytes that is work; few at a time, as files are.
        document = await anyio.to_thread.run_sync(
            _document, body, limiter=request.app.state.parsing
        )
    else:
        raise Problem(
            415, "unsupported-type", "Send application/json, or a file as multipart/form-data."
        )
    require_collection(access, document.collection)
    key = own_key(access, idempotency_key)
    require = required(if_match, if_none_match)
    # Not with the threads of all else: these may be held for minutes.
    accepted = await anyio.to_thread.run_sync(
        _accept, api, document, found, key, require, limiter=request.app.state.taking_in
    )
    response.headers["Location"] = f"/v1/jobs/{accepted.job.id}"
    response.headers["ETag"] = etag(accepted.document.version, accepted.document.sha256)
    return accepted


@router.get("/documents")
def list_documents(
    api: Wired,
    access: Reading,
    collection: CollectionName = "default",
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DocumentPage:
    """The documents of a collection in the order of their ids, a page at a time."""
    require_collection(access, collection)
    views = api.documents.page(collection, from_cursor(cursor), limit + 1)
    more = len(views) > limit
    shown = views[:limit]
    return DocumentPage(
        documents=[document_out(view) for view in shown],
        next_cursor=to_cursor(shown[-1].document.id) if more else None,
    )


@router.get("/documents/{id}")
def get_document(
    response: Response,
    api: Wired,
    access: Reading,
    id: DocumentId,
    collection: CollectionName = "default",
) -> DocumentOut:
    """One document with its cartridge; its ETag is for `If-Match`."""
    require_collection(access, collection)
    document = document_out(api.documents.get(collection, id))
    response.headers["ETag"] = etag(document.version, document.sha256)
    return document


@router.get("/documents/{id}/text", response_class=PlainTextResponse)
def get_text(
    api: Wired,
    access: Reading,
    id: DocumentId,
    collection: CollectionName = "default",
) -> PlainTextResponse:
    """A document's text, as it was read out of its file: what is searched, trained on and quoted."""
    require_collection(access, collection)
    document = api.documents.read(collection, id)
    etags = {"ETag": etag(document.version, document.sha256)}
    return PlainTextResponse(document.text, headers=etags)


@router.post("/documents/{id}/train", status_code=202)
def train_document(
    response: Response,
    api: Wired,
    access: Writing,
    id: DocumentId,
    collection: CollectionName = "default",
) -> DocumentAccepted:
    """Train one document anew; what answers for it meanwhile stays.

    Asking again while that is under way gives the same job.
    """
    require_collection(access, collection)
    begin = partial(api.documents.train, collection, id)
    return _begun(response, begin, "nothing is trained")


@router.delete("/documents/{id}", status_code=204)
def delete_document(
    api: Wired,
    access: Writing,
    id: DocumentId,
    collection: CollectionName = "default",
    if_match: IfMatch = None,
) -> None:
    """Remove a document, its passages, its cartridge and its training."""
    require_collection(access, collection)
    api.documents.delete(collection, id, required(if_match, None))


@router.post("/documents/{id}/release", status_code=202)
def release_document(
    response: Response,
    api: Wired,
    access: Writing,
    id: DocumentId,
    collection: CollectionName = "default",
) -> DocumentAccepted:
    """Let a document in quarantine be found and trained, in spite of its conflicts."""
    require_collection(access, collection)
    begin = partial(api.documents.release, collection, id)
    try:
        return _begun(response, begin, "the document was not released")
    except NotHeld as error:
        raise Problem(409, "not-quarantined", str(error)) from error


def _begun(
    response: Response, begin: Callable[[], tuple[View, Job]], without: str
) -> DocumentAccepted:
    """A document and the job that was begun for it; `without` Redis that is what is said."""
    try:
        view, job = begin()
    except redis.RedisError as error:
        raise unavailable(f"Redis does not answer, so {without}; try again in a moment.") from error
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return DocumentAccepted(document=document_out(view), job=job_out(job))


def _accept(
    api: Api,
    document: DocumentIn,
    found: Parsed | None,
    key: str | None,
    require: Require,
) -> DocumentAccepted:
    def accept() -> DocumentAccepted:
        view, job = api.documents.accept(
            document.collection,
            document.id,
            document.title,
            document.text,
            None if found is None else found.marks,
            require,
            None if found is None else found.title,
        )
        return DocumentAccepted(document=document_out(view), job=job_out(job))

    def kept(accepted: DocumentAccepted) -> DocumentAccepted:
        # For a day: not with what it says of other documents.
        plain = accepted.document.model_copy(update={"conflicts": []})
        return accepted.model_copy(update={"document": plain})

    def there(accepted: DocumentAccepted) -> bool:
        # One that was deleted since is not said to be there.
        return api.documents.has(document.collection, accepted.document.id)

    # With the title that a file brings: another one's is another request.
    title = document.title or (None if found is None else found.title)
    asked = document.model_dump() | {"title": title}
    try:
        return api.idempotency.once(key, asked, DocumentAccepted, accept, kept, there)
    except (redis.RedisError, RegistryUnavailable) as error:
        raise unavailable(
            "Redis does not answer, so the document was not accepted; send it again in a moment."
        ) from error


def _document(body: bytes) -> DocumentIn:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise no_json() from error
    return DocumentIn.model_validate(sent)


def _require_unicode(request: Request) -> None:
    """Fields are decoded by the charset that a form names, and Python knows some that take minutes."""
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"utf-8").lower() not in _UNICODE:
        raise Problem(415, "unsupported-type", "Send the form as UTF-8, without another charset.")


async def _uploaded(request: Request, api: Api) -> tuple[DocumentIn, Parsed]:
    _require_unicode(request)
    async with request.form(max_files=1, max_fields=4) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Problem(422, "invalid-request", "The form has no file in its field 'file'.")
        fields = UploadFields.model_validate(
            {name: value for name, value in form.items() if name != "file"}
        )
        data = await file.read()
    # Few at a time, and the others wait without a thread: questions need those.
    parsed = await anyio.to_thread.run_sync(
        api.parse, data, file.filename, file.content_type, limiter=request.app.state.parsing
    )
    id = fields.id
    if id is None and fields.known_by == "name":
        if not file.filename:
            raise Problem(
                422, "invalid-request", "The file has no name to be known by; send an id."
            )
        id = id_of_name(file.filename)
    document = DocumentIn(collection=fields.collection, id=id, title=fields.title, text=parsed.text)
    return document, parsed
