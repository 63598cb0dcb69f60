"""/v1/collections: what there is, and training all of one anew."""

from fastapi import APIRouter, Response

from app.routes.outputs import job_out
from app.routes.parts import CollectionName, Wired
from app.schemas import CollectionList, CollectionOut, JobAccepted

router = APIRouter(tags=["collections"])


@router.get("/collections")
def list_collections(api: Wired) -> CollectionList:
    """Every collection that holds a document."""
    counts = api.documents.collections()
    return CollectionList(
        collections=[CollectionOut(name=name, documents=count) for name, count in counts.items()]
    )


@router.post("/collections/{name}/train", status_code=202)
def train_collection(api: Wired, response: Response, name: CollectionName) -> JobAccepted:
    """Train all documents of the collection beside each other, so that their cartridges compose.

    The job's result says of each document whether its cartridge was published: it must pass its
    check alone and among its nearest neighbours.
    """
    job = api.documents.retrain(name)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobAccepted(job=job_out(job))
