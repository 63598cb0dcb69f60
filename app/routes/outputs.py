"""How documents, jobs and answers are written as JSON. Knows both sides and decides nothing."""

from datetime import UTC, datetime

from app.asked import Answer
from app.documents import Mounted, View
from app.evidence import Source
from app.jobs import Job
from app.relevance import Known
from app.schemas import (
    AnswerOut,
    CartridgeOut,
    DocumentOut,
    JobOut,
    LocationOut,
    PassageOut,
    RelevanceOut,
    SourceOut,
    TimingsOut,
    UsageOut,
)
from retrieval.marks import Mark, main_mark
from retrieval.table import Hit


def document_out(view: View) -> DocumentOut:
    document = view.document
    cartridge = cartridge_out(view.cartridge, document.version) if view.cartridge else None
    return DocumentOut.model_validate(
        {
            "id": document.id,
            "collection": document.collection,
            "title": document.title,
            "version": document.version,
            "sha256": document.sha256,
            "characters": view.characters,
            "tokens": view.tokens,
            "status": view.status,
            "created_at": document.created_at,
            "cartridge": cartridge,
            "job": view.job.id if view.job else None,
            "conflicts": [
                {
                    "document_id": each.document,
                    "question": each.question,
                    "answer": each.answer,
                    "instead": each.instead,
                }
                for each in (view.noted.found if view.noted else ())
            ],
        }
    )


def cartridge_out(mounted: Mounted, document_version: int) -> CartridgeOut:
    manifest = mounted.manifest
    return CartridgeOut(
        id=manifest.cartridge_id,
        version=document_version,
        slots=manifest.slots,
        bytes=mounted.nbytes,
        compression=round(manifest.compression, 2),
        locations=[
            LocationOut(node=place.node, tier=place.tier, seen_at=place.seen_at)
            for place in mounted.locations
        ],
    )


def job_out(job: Job) -> JobOut:
    return JobOut(
        id=job.id,
        kind=job.kind,
        status=job.status,
        progress=job.progress,
        stage=job.stage,
        eta_s=job.eta_s,
        error=job.error,
        result=job.result,
        collection=job.collection,
        document_id=job.subject.document_id if job.subject else None,
        created_at=_time(job.created_at),
        started_at=_time(job.started_at),
        ended_at=_time(job.ended_at),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def relevance_out(known: Known) -> RelevanceOut:
    least = None if known.least is None else round(known.least, 4)
    return RelevanceOut(source=known.source, questions=known.questions, least=least)


def source_out(source: Source) -> SourceOut:
    return SourceOut(
        document_id=source.document_id,
        title=source.title,
        score=round(source.score, 4),
        via=source.via,
        passages=[
            _passage_out(hit, main_mark(source.marks, hit.start, hit.end))
            for hit in source.passages
        ],
    )


def _passage_out(hit: Hit, mark: Mark) -> PassageOut:
    return PassageOut(
        text=hit.text,
        start=hit.start,
        end=hit.end,
        score=round(hit.score, 4),
        page=mark.page,
        section=mark.section,
    )


def answer_out(answer: Answer) -> AnswerOut:
    done = answer.completion
    before = answer.retrieve_ms + answer.load_ms
    usage, timings = UsageOut(), TimingsOut()
    if done is not None:
        usage = UsageOut(
            prompt_tokens=done.prompt_tokens,
            cartridge_slots=done.cartridge_slots,
            completion_tokens=done.completion_tokens,
            kv_bytes=done.kv_bytes,
        )
        timings = TimingsOut(
            compose=round(done.compose_ms, 2), first_token=round(before + done.first_token_ms, 2)
        )
    timings.retrieve = round(answer.retrieve_ms, 2)
    timings.load = round(answer.load_ms + (done.load_ms if done is not None else 0.0), 2)
    timings.total = round(answer.total_ms, 2)
    return AnswerOut(
        answer=answer.text,
        mode=answer.mode,
        abstained=answer.abstained,
        finish_reason="length" if done is not None and done.cut else "stop",
        sources=[source_out(source) for source in answer.sources],
        usage=usage,
        timings_ms=timings,
        notices=list(answer.notices),
    )
