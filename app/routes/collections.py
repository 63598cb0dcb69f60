"""/v1/collections: what there is, making and removing one, and training all of one anew."""

from fastapi import APIRouter, Response

from app.routes.outputs import job_out, relevance_out
from app.routes.parts import CollectionName, Wired
from app.schemas import CollectionList, CollectionOut, JobAccepted, RelevanceIn, RelevanceOut
from app.security import Administering, Reading, Writing, require_collection
from retrieval.errors import DocumentNotFound

router = APIRouter(tags=["collections"])


@router.get("/collections")
def list_collections(api: Wired, access: Reading) -> CollectionList:
    """Every collection that the key is for."""
    counts = api.documents.collections(access.sees)
    return CollectionList(
        collections=[CollectionOut(name=name, documents=count) for name, count in counts.items()]
    )


@router.put("/collections/{name}", responses={201: {"model": CollectionOut}})
def create_collection(
    api: Wired, access: Writing, response: Response, name: CollectionName
) -> CollectionOut:
    """Let a collection be there before it holds a document: 201 for a new one, else 200."""
    require_collection(access, name)
    if api.documents.create_collection(name):
        response.status_code = 201
    return CollectionOut(name=name, documents=api.documents.collections(name.__eq__).get(name, 0))


@router.delete("/collections/{name}", status_code=204)
def delete_collection(api: Wired, access: Administering, name: CollectionName) -> None:
    """Remove a collection with all its documents, their passages, cartridges and training."""
    require_collection(access, name)
    api.base.gate.forget(name)  # first: done again, a deletion completes what was interrupted
    api.documents.delete_collection(name)


@router.get("/collections/{name}/relevance")
def show_relevance(api: Wired, access: Reading, name: CollectionName) -> RelevanceOut:
    """How well a question must fit this collection to be answered in mode auto."""
    require_collection(access, name)
    api.documents.require_collection(name)
    return relevance_out(api.base.gate.known(name))


@router.put("/collections/{name}/relevance")
def calibrate(api: Wired, access: Writing, name: CollectionName, body: RelevanceIn) -> RelevanceOut:
    """Go by questions that the collection does answer, instead of its self-studies; by these again
    without any."""
    require_collection(access, name)
    api.documents.require_collection(name)
    known = api.base.gate.give(name, api.retriever.relevances(name, body.questions))
    try:
        api.documents.require_collection(name)
    except DocumentNotFound:  # deleted meanwhile
        api.base.gate.forget(name)
        raise
    return relevance_out(known)


@router.post("/collections/{name}/train", status_code=202)
def train_collection(
    api: Wired, access: Writing, response: Response, name: CollectionName
) -> JobAccepted:
    """Train all documents of the collection beside each other, so that their cartridges compose.

    The job's result says of each document whether its cartridge was published: it must pass its
    check alone and among its nearest neighbours.
    """
    require_collection(access, name)
    job = api.documents.retrain(name)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobAccepted(job=job_out(job))
