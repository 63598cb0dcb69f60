"""Schemas: what the API accepts and answers, field by field. Unknown fields are refused.

Knows shapes and limits; knows nothing of how an answer is made.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

# As the ids of the store and the library: no two dots beside each other.
_ID = r"^[a-z0-9](\.?[a-z0-9_-])*\.?$"
_WORDS = r"^[^\x00]*[^\s\x00][^\x00]*$"
_MOST_FIELDS = 100
PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        _ID: "use lower-case letters, digits, '.', '_' or '-', beginning with a letter or digit and "
        "without '..'",
        _WORDS: "write something, and no NUL",
    }
)
"""What is to be done about a text that does not fit."""
Id = Annotated[str, Field(pattern=_ID, max_length=128, examples=["default"])]
Words = Annotated[str, Field(pattern=_WORDS)]
"""Text with something in it and no NUL."""
MOST_QUESTIONS = 500
"""That a collection is told at once to be for."""
Mode = Literal["auto", "cartridge", "rag", "icl", "none"]
ReportArm = Literal[
    "no_context",
    "icl",
    "truncated_icl",
    "rag_1",
    "rag_3",
    "rag_5",
    "rag_10",
    "rag_oracle",
    "oracle_cartridge",
    "cartridges_1",
    "cartridges_3",
    "cartridges_5",
    "cartridge_and_passage",
    "cartridge_then_passage",
    "compaction",
    "monolithic",
]
ARM_NAMES: tuple[ReportArm, ...] = get_args(ReportArm)
DEFAULT_ARMS: tuple[ReportArm, ...] = (
    "no_context",
    "icl",
    "rag_3",
    "oracle_cartridge",
    "cartridges_1",
    "cartridge_then_passage",
)
DocumentStatus = Literal["text", "draft", "ready", "failed", "quarantined"]


class Strict(BaseModel):
    """A body without surprises."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_floods(cls, sent: Any) -> Any:
        """Each unknown field is an error of its own: of thousands that is megabytes of answer."""
        if isinstance(sent, Mapping) and len(sent) > _MOST_FIELDS:
            raise ValueError(f"more than {_MOST_FIELDS} fields")
        return sent


class DocumentIn(Strict):
    """A document to add, or a new version of one when its id is known."""

    collection: Id = "default"
    id: Id | None = None
    title: str | None = Field(default=None, max_length=300)
    text: Words = Field(
        examples=["The boiler of the garden flat was last serviced by Franz Huber."]
    )


class UploadFields(Strict):
    """The fields that may stand beside a file in a multipart form."""

    collection: Id = "default"
    id: Id | None = None
    title: str | None = Field(default=None, max_length=300)
    known_by: Literal["content", "name"] = Field(
        default="content",
        description="What an id is made of where none is given: of the title and the text, so that another "
        "text is another document, or of the file's name, so that it is a new version.",
    )


class LocationOut(Strict):
    node: str
    tier: str
    seen_at: float


class CartridgeOut(Strict):
    """The trained cartridge that answers for a document."""

    id: str
    version: int = Field(description="The document version that it was trained on.")
    slots: int
    bytes: int
    compression: float
    locations: list[LocationOut]


class ConflictOut(Strict):
    """An answer of another document that is another one with this document read beside it."""

    document_id: str
    question: str
    answer: str = Field(description="From that document alone.")
    instead: str = Field(description="With this one beside it.")


class DocumentOut(Strict):
    """`status` is "text" or "draft" until a cartridge is trained, "failed" when its check refused it.

    "quarantined" is one that no search finds, because of its conflicts: it answers only where it is named.
    """

    id: str
    collection: str
    title: str
    version: int
    sha256: str
    characters: int
    tokens: int
    status: DocumentStatus
    created_at: datetime
    cartridge: CartridgeOut | None
    job: str | None = Field(description="The document's last job.")
    conflicts: list[ConflictOut]


class DocumentPage(Strict):
    documents: list[DocumentOut]
    next_cursor: str | None = Field(description="Ask for this cursor next; null at the end.")


class JobOut(Strict):
    id: str
    kind: Literal["train", "train-collection", "report"]
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: float = Field(ge=0, le=1)
    stage: str
    eta_s: float | None
    error: str | None
    result: dict[str, Any] | None
    collection: str
    document_id: str | None = Field(description="Null for a job of the whole collection.")
    created_at: datetime | None = None
    started_at: datetime | None = Field(default=None, description="The last time, if ever.")
    ended_at: datetime | None = None


class JobPage(Strict):
    jobs: list[JobOut]
    next_cursor: str | None = Field(description="Ask for this cursor next; null at the end.")


class DocumentAccepted(Strict):
    document: DocumentOut
    job: JobOut


class JobAccepted(Strict):
    job: JobOut


class CollectionOut(Strict):
    name: str
    documents: int


class CollectionList(Strict):
    collections: list[CollectionOut]


class RelevanceIn(Strict):
    """Questions that a collection answers, in the words of those who ask."""

    questions: list[Annotated[Words, Field(max_length=2000)]] = Field(max_length=MOST_QUESTIONS)


class RelevanceOut(Strict):
    """How well a question must fit a collection for mode auto to answer it."""

    source: Literal["studies", "questions"] = Field(
        description="Whence it is known: the documents' self-studies, or questions that were given."
    )
    questions: int
    least: float | None = Field(
        description="Null where too little is known: then all are answered."
    )


class QuestionIn(Strict):
    """A question to a collection, or to some of its documents."""

    question: Words = Field(examples=["Who serviced the boiler of the garden flat?"])
    collection: Id = "default"
    mode: Mode = "auto"
    documents: list[Id] | None = Field(default=None, min_length=1, max_length=16)
    top_k: int | None = Field(
        default=None, ge=1, le=20, description="Passages in mode rag, documents in the other modes."
    )
    max_tokens: int = Field(default=96, ge=1, le=1024)
    temperature: float = Field(default=0.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, le=2**53)
    stop: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=list, max_length=4, description="The answer ends before the first of these."
    )
    stream: bool = False


class ReportQuestion(Strict):
    """A question with the answers that are right; none of them when it cannot be answered."""

    id: Id | None = None
    question: Words = Field(max_length=2000)
    answers: list[Annotated[Words, Field(max_length=2000)]] = Field(
        default_factory=list, max_length=20
    )
    kind: Literal["span", "free"] = Field(
        default="span",
        description="A short answer, right or wrong; or a free one, which scores its token F1.",
    )
    options: list[Annotated[Words, Field(max_length=2000)]] = Field(
        default_factory=list, max_length=26, description="The answer has to be one of these."
    )
    documents: list[Id] = Field(
        default_factory=list, max_length=16, description="Those that hold the answer, if known."
    )

    @model_validator(mode="after")
    def _require_one_option(self) -> "ReportQuestion":
        if self.options and (
            len(set(self.options)) < max(2, len(self.options))
            or len(self.answers) != 1
            or self.answers[0] not in self.options
        ):
            raise ValueError(
                "options are 2 to 26 different texts, and answers holds exactly one of them"
            )
        return self


class ReportIn(Strict):
    """A comparison of arms over a collection's documents."""

    collection: Id = "default"
    title: str = Field(default="Cartridges, RAG and the text in context", max_length=200)
    questions: list[ReportQuestion] = Field(min_length=1, max_length=2000)
    arms: list[ReportArm] = Field(
        default_factory=lambda: [*DEFAULT_ARMS],
        min_length=1,
        max_length=len(ARM_NAMES),
        json_schema_extra={"uniqueItems": True},
    )

    @model_validator(mode="after")
    def _require_distinct(self) -> "ReportIn":
        ids = [each.id for each in self.questions if each.id is not None]
        if len(set(ids)) < len(ids) or len(set(self.arms)) < len(self.arms):
            raise ValueError("ids of questions, and arms, may stand once each")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds may stand once each")
        if len(self.seeds) > 1 and not self.temperature:
            raise ValueError("at temperature 0 every seed answers the same; name one, or warm up")
        return self

    max_tokens: int = Field(default=64, ge=1, le=512)
    temperature: float = Field(default=0.0, ge=0, le=2)
    seeds: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(
        default_factory=lambda: [0],
        min_length=1,
        max_length=5,
        description="Every question is asked once with each; of use above temperature 0.",
    )
    concurrency: int = Field(
        default=8,
        ge=0,
        le=64,
        description="Questions on the way together while throughput is measured; 0 leaves it out.",
    )


class ReportOut(Strict):
    id: str = Field(description="Its job's id, too.")
    title: str
    collection: str
    created_at: datetime
    questions: int
    arms: list[str]
    finished: bool


class ReportPage(Strict):
    reports: list[ReportOut]
    next_cursor: str | None = Field(description="Ask for this cursor next; null at the end.")


class PassageOut(Strict):
    text: str
    start: int
    end: int
    score: float
    page: int | None = Field(
        description="The page that most of it is on, from 1; null in a text without pages."
    )
    section: str | None = Field(description="The heading that most of it stands below.")


class SourceOut(Strict):
    document_id: str
    title: str
    score: float
    via: Literal["cartridge", "text"]
    passages: list[PassageOut]


class UsageOut(Strict):
    prompt_tokens: int = 0
    cartridge_slots: int = 0
    completion_tokens: int = 0
    kv_bytes: int = 0


class TimingsOut(Strict):
    """Milliseconds; `first_token` and `total` count from the arrival of the question."""

    retrieve: float = 0.0
    load: float = 0.0
    compose: float = 0.0
    first_token: float = 0.0
    total: float = 0.0


class AnswerOut(Strict):
    answer: str
    mode: Mode
    abstained: bool
    finish_reason: Literal["stop", "length"] = Field(
        description='"length" for one that was cut at `max_tokens`.'
    )
    sources: list[SourceOut]
    usage: UsageOut
    timings_ms: TimingsOut
    notices: list[str] = Field(description="What did not go as asked, one sentence each.")


class SourcesEvent(Strict):
    """The first event of a streamed answer."""

    mode: Mode
    sources: list[SourceOut]
    notices: list[str]


class TokenEvent(Strict):
    text: str


class Health(Strict):
    status: Literal["ok", "ready"]
    dependencies: dict[str, str] = Field(default_factory=dict)


class ProblemOut(BaseModel):
    """RFC 9457. `code` is stable; `detail` is a sentence for a person."""

    type: str
    title: str
    status: int
    detail: str
    code: str
