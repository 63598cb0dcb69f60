"""OpenAI's chat completions, as far as this service answers them. Knows shapes, no meaning.

Fields that would change an answer and are not supported are refused where they ask for something; those
that change nothing here are accepted, because clients send them by themselves, and gateways as null.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, field_validator

from app.schemas import Id, Mode, SourceOut, Strict, Words

Stop = Annotated[str, Field(min_length=1, max_length=200)]
Nothing = Annotated[list[Any], Field(max_length=0)]


class Part(BaseModel):
    """One part of a question that is sent in parts; it has to be text."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: Words


class UserMessage(BaseModel):
    """A question, as a text or in parts."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["user"]
    content: Words | Annotated[list[Part], Field(min_length=1, max_length=1_000)]

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class Message(BaseModel):
    """Any message. What was said before the last one is not read, so it may be of any kind."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(max_length=40)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatIn(Strict):
    """A request; `collection`, `cartridges`, `mode` and `top_k` are this service's own."""

    model: str = Field(max_length=400, examples=["cartridge-qa"])
    messages: Annotated[list[Message], FailFast()] = Field(
        min_length=1, description="The last one is the question: a user's, of text."
    )
    collection: Id | None = None
    cartridges: list[Id] | None = Field(
        default=None, min_length=1, max_length=16, description="Documents to answer from."
    )
    mode: Mode = "auto"
    top_k: int | None = Field(default=None, ge=1, le=20)
    max_tokens: int | None = Field(
        default=None, ge=1, le=2**31, description="1,024 at most are said, whatever is asked for."
    )
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, le=2**53)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    tools: Nothing | None = None
    functions: Nothing | None = None
    function_call: Literal["none", "auto"] | None = None
    modalities: list[Literal["text"]] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    # These change nothing here.
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    service_tier: str | None = Field(default=None, max_length=40)
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    user: str | None = Field(default=None, max_length=400)
    metadata: dict[str, str] | None = None
    store: bool | None = None
    safety_identifier: str | None = Field(default=None, max_length=400)
    prompt_cache_key: str | None = Field(default=None, max_length=400)
    reasoning_effort: str | None = Field(default=None, max_length=40)
    verbosity: str | None = Field(default=None, max_length=40)
    top_logprobs: Literal[0] | None = None

    @field_validator("messages")
    @classmethod
    def _require_question(cls, messages: list[Message]) -> list[Message]:
        last = messages[-1]
        if last.role != "user":
            raise ValueError("the last message must be the user's question")
        UserMessage.model_validate(last.model_dump())
        return messages

    @property
    def question(self) -> str:
        """What the last message asks."""
        return UserMessage.model_validate(self.messages[-1].model_dump()).text


class Said(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    index: Literal[0] = 0
    message: Said
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class Usage(BaseModel):
    """Slots are not tokens: they are told beside them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cartridge_slots: int


class ChatOut(BaseModel):
    """A chat completion with where it comes from."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    sources: list[SourceOut]
    abstained: bool
    notices: list[str]


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]
