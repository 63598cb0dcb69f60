"""Settings: everything a person may choose, read once at the edge from `CARTRIDGES_*` variables.

Knows names, defaults and limits; opens nothing and connects to nothing.
"""

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reader.paths import bundled_reader

PREFIX = "CARTRIDGES_"
_SHA256 = re.compile(r"[0-9a-f]{64}")


ConflictPolicy = Literal["ignore", "warn", "quarantine"]
"""What becomes of documents that change others' answers."""


# Of the command line, the tests and the tools; no settings of a service.
_OTHERS = frozenset({"API_KEY", "REAL_DATA", "VLLM_MODEL", "VLLM_PYTHON"})


def mistaken(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that looks like a setting and is none."""
    names = {name.upper() for name in Settings.model_fields}
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and name not in names | _OTHERS:
            close = get_close_matches(name, names, 1)
            meant = f"; did you mean {PREFIX}{close[0]}?" if close else "; see docs/settings.md."
            yield f"{variable} is no setting{meant}"


class Settings(BaseSettings):
    """One service's settings; frozen, so that what was read at the start holds until the end."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data: Path = Field(
        default=Path("data"), description="Folder of documents, indexes and cartridges."
    )
    reader: str = Field(
        default_factory=lambda: str(bundled_reader()),
        description="Path or hub name of the causal language model that reads.",
    )
    device: str = Field(default="auto", description="Where the reader runs: auto, cpu or cuda.")
    dtype: str = Field(
        default="auto",
        description="The reader's number format; auto is bfloat16 where the processor multiplies it "
        "itself, else float32.",
    )
    redis_url: str | None = Field(
        default=None, description="A Redis to use instead of the embedded one."
    )
    redis_prefix: str = Field(
        default="cq:", pattern=r"^[a-z0-9:_-]{1,40}$", description="What all Redis keys begin with."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    workers: int = Field(default=1, ge=0, le=64, description="Worker processes that `serve` runs.")
    fleet: str | None = Field(
        default=None,
        description="Ray cluster that does collections and reports: local, auto or host:port.",
    )
    fleet_workers: int = Field(
        default=16, ge=1, le=4096, description="Most workers that a job has on it."
    )
    fleet_gpus: float = Field(default=0.0, ge=0, description="Share of a GPU for each of them.")
    fleet_group: int = Field(
        default=20, ge=3, description="Most documents that a fleet trains beside each other."
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Torch threads of a worker, its share of the cores if unset, and of answering with a "
        "large reader, all cores if unset.",
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="SHA-256 hashes of the accepted API keys, separated by commas."
    )
    max_upload_bytes: int = Field(
        default=4_000_000, ge=1, description="Largest document, in bytes."
    )
    parser: Literal["builtin", "docling"] = Field(
        default="builtin", description="What reads PDF and Word files: builtin or docling."
    )
    max_question_chars: int = Field(
        default=8000, ge=1, description="Longest question, in characters."
    )
    top_k: int = Field(
        default=4, ge=1, le=20, description="Passages that answer a question as text."
    )
    second_look: int = Field(
        default=1,
        ge=0,
        le=20,
        description="Passages that are read where mode auto doubts its cartridges; 0 for never.",
    )
    doubt: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of cartridges' right answers that mode auto may doubt and ask again from "
        "passages, so that more of the wrong ones are doubted.",
    )
    conflicts: ConflictPolicy = Field(
        default="warn",
        description="What becomes of a document that changes other documents' answers when it is read "
        "beside them: ignore (nobody looks), warn (it is told) or quarantine (it is held back until it "
        "is released).",
    )
    refuse: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the questions that a collection answers which mode auto may refuse, for "
        "the sake of those about something else; 0 for none.",
    )
    max_batch: int = Field(default=16, ge=1, le=1024, description="Questions decoded together.")
    kv_bytes: int = Field(
        default=1 << 30,
        ge=1 << 16,
        description="Bytes for the keys and values of all questions and resident cartridges.",
    )
    vllm_url: str | None = Field(
        default=None, description="A vLLM server that answers in the reader's place (docs/vllm.md)."
    )
    vllm_api_key: str | None = Field(
        default=None, description="The key which that server asks for."
    )
    max_waiting: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Questions that may wait; more are told to come again.",
    )
    requests_per_minute: int = Field(
        default=600, ge=0, description="Requests that a key may send; 0 for no limit."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may call the API, separated by commas."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses or networks of proxies (and of routers) that are believed whom a request is "
        "from, separated by commas.",
    )
    traces: bool = Field(
        default=False,
        description="Whether requests are traced by OpenTelemetry (its `otel` extra).",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How logs are written: text or json."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="What is logged; INFO adds a line for every request."
    )
    host_bytes: int = Field(
        default=1 << 30, ge=0, description="Bytes of cartridges kept in memory for the device."
    )
    blobs_url: str | None = Field(
        default=None,
        description="Where cartridges are kept, such as s3://bucket/folder; else the data folder.",
    )
    blobs_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of that store's fsspec client, a JSON object."
    )
    disk_bytes: int = Field(
        default=10 << 30, ge=0, description="Bytes of local copies of what is kept there."
    )
    node: str = Field(
        default="local",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="This API's name among those that share a Redis; each has its own.",
    )
    replica_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]+$",
        description="Where a router reaches this API; else the address that it listens on.",
    )
    route_bound: float = Field(
        default=1.25,
        ge=1,
        description="How many times the mean load a router lets an API have before it asks another.",
    )
    grace_seconds: float = Field(
        default=3600.0, ge=0, description="How long a replaced cartridge's file is kept."
    )
    not_stated: str = Field(
        default="That is not stated.",
        description="The reader's words for what it does not find; answers that are these abstain.",
    )
    instructions: str = Field(
        default="Answer from the text above alone, with the value itself or in one short sentence. If the "
        "text does not say it, answer: {not_stated}",
        max_length=2_000,
        description="What a reader is told before each question; the bundled one is told nothing. "
        "Cartridges learn to answer what is asked so: choose it before they are trained.",
    )
    compression: float | None = Field(
        default=None, ge=1, description="Document tokens per slot; 12 if unset."
    )
    seed: int = Field(default=0, ge=0, le=2**53, description="Seed of training and sampling.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Further training settings, as a JSON object."
    )

    @field_validator(
        *("redis_url", "vllm_url", "vllm_api_key", "blobs_url", "replica_url", "fleet"),
        *("threads", "compression"),
        mode="before",
    )
    @classmethod
    def _none_where_empty(cls, value: object) -> object:
        """Files of variables leave what is not chosen empty."""
        return None if value == "" else value

    @field_validator("api_keys", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_keys")
    @classmethod
    def _require_hashes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # A key that stands here in the clear would never match, and would be in a config file.
        if not all(_SHA256.fullmatch(part) for part in value):
            raise ValueError("give SHA-256 hashes of the keys, 64 lower-case hex digits each")
        return value

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def of_a_worker(self) -> "Settings":
        """The same for a worker: what it holds is at hand for no question, so that its places are not
        those of its node's API."""
        return self.model_copy(update={"node": f"{self.node}-worker"})

    def environment(self) -> dict[str, str]:
        """These settings as variables, for a process that this one starts."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {PREFIX + name.upper(): _as_variable(value) for name, value in values.items()}


def _as_variable(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)
