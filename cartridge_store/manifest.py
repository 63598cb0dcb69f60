"""The manifest: everything a cartridge says about itself, without its tensors.

It knows no file and no server. JSON is canonical (sorted keys, no spaces, ASCII), so that equal
manifests are equal bytes and can be hashed.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from cartridge_store.errors import CartridgeRefused, InvalidId
from cartridge_store.ids import validate_cartridge_id, validate_id

FORMAT_VERSION = 1

Dtype = Literal["bfloat16", "float32", "bfloat16_int8"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_MAX_INT = 2**63 - 1
_MAX_DEPTH = 16
# Measurements and the clock are about a cartridge, not what it is: the same training run again
# must give the same id.
_OUTSIDE_IDENTITY = frozenset({"cartridge_id", "created_at", "figures"})


DRAFT = "draft"
"""What a recipe says, `true`, of a cartridge that nobody trained: it serves until another does."""


@dataclass(frozen=True)
class PositionRule:
    """Where the question stands: at `offset` ("fixed"), or after the visible slots ("visible").

    `offset` is an int >= 0 for "fixed" and None for "visible". Raises CartridgeRefused.
    """

    kind: Literal["fixed", "visible"]
    offset: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "fixed":
            _require_int(self.offset, "position_rule.offset", least=0)
        elif self.kind != "visible":
            raise CartridgeRefused("The position rule's kind must be 'fixed' or 'visible'.")
        elif self.offset is not None:
            raise CartridgeRefused("The position rule 'visible' takes no offset; leave it null.")


@dataclass(frozen=True)
class Manifest:
    """A cartridge's own account of itself; every field is checked, CartridgeRefused is raised.

    `recipe` and `figures` are JSON objects, `parent` is the version this one replaces,
    `created_at` is UTC as written by `utc_now`, `tensors_sha256` covers the bytes of the tensors
    in the order of the file.
    """

    format_version: int
    cartridge_id: str
    collection: str
    document_id: str
    document_sha256: str
    document_tokens: int
    slots: int
    dtype: Dtype
    reader_fingerprint: str
    tokenizer_fingerprint: str
    position_rule: PositionRule
    initialiser: str
    recipe: dict[str, Any]
    figures: dict[str, Any]
    parent: str | None
    created_at: str
    tensors_sha256: str

    def __post_init__(self) -> None:
        if type(self.format_version) is not int or self.format_version != FORMAT_VERSION:
            raise CartridgeRefused(
                f"Format version {self.format_version!r} is unknown here; this program reads "
                f"version {FORMAT_VERSION}, so train the cartridge again or update the program."
            )
        try:
            validate_cartridge_id(self.cartridge_id)
            validate_id(self.collection, "collection")
            validate_id(self.document_id, "document id")
            validate_id(self.initialiser, "initialiser")
            if self.parent is not None:
                validate_cartridge_id(self.parent)
        except InvalidId as error:
            raise CartridgeRefused(f"The manifest is not valid: {error}") from error
        for name in (
            "document_sha256",
            "reader_fingerprint",
            "tokenizer_fingerprint",
            "tensors_sha256",
        ):
            _require_sha256(getattr(self, name), name)
        _require_int(self.document_tokens, "document_tokens", least=1)
        _require_int(self.slots, "slots", least=1)
        if self.dtype not in get_args(Dtype):
            raise CartridgeRefused(
                f"The dtype {self.dtype!r} is not supported; use one of {get_args(Dtype)}."
            )
        if not isinstance(self.position_rule, PositionRule):
            raise CartridgeRefused("The manifest's position_rule is not a position rule.")
        _require_json_object(self.recipe, "recipe")
        _require_json_object(self.figures, "figures")
        _require_time(self.created_at)

    @property
    def compression(self) -> float:
        """Document tokens per slot."""
        return self.document_tokens / self.slots

    @property
    def is_draft(self) -> bool:
        """Whether it only serves until one is trained."""
        return self.recipe.get(DRAFT) is True

    def to_json(self) -> str:
        """The canonical JSON text."""
        return canonical_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values (shared with this manifest, not copied)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        rule = self.position_rule
        return values | {"position_rule": {"kind": rule.kind, "offset": rule.offset}}

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read canonical JSON; raises CartridgeRefused for anything `to_json` would not write."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CartridgeRefused("The manifest is not JSON; the file is damaged.") from error
        if not _is_json(values, _MAX_DEPTH + 1):
            raise CartridgeRefused("The manifest is nested too deep or not finite; write it again.")
        _require_fields(values, {field.name for field in fields(cls)}, "manifest")
        rule = values["position_rule"]
        _require_fields(rule, {"kind", "offset"}, "position_rule")
        manifest = cls(**(values | {"position_rule": PositionRule(**rule)}))
        if manifest.to_json() != text:
            raise CartridgeRefused("The manifest is not canonical JSON; write it by this program.")
        return manifest


def canonical_json(value: object) -> str:
    """The one text of a JSON value: sorted keys, no spaces, ASCII.

    Raises CartridgeRefused when the value has no finite plain JSON form.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CartridgeRefused(f"This cannot be written as plain JSON: {error}.") from error


def content_id(values: Mapping[str, Any], shape: tuple[int, ...]) -> str:
    """The content-addressed id of a manifest's JSON values and its tensors' shape."""
    identity = {name: value for name, value in values.items() if name not in _OUTSIDE_IDENTITY}
    text = canonical_json(identity | {"shape": list(shape)})
    return "c" + hashlib.sha256(text.encode("ascii")).hexdigest()[:40]


def utc_now() -> str:
    """The time now, ISO 8601 in UTC, always of one length so that it sorts as text."""
    return utc_before(0.0)


def utc_before(seconds: float) -> str:
    """The time so many seconds ago, as `utc_now` writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _require_fields(values: object, names: set[str], what: str) -> None:
    if not isinstance(values, dict):
        raise CartridgeRefused(f"The {what} is not a JSON object; the file is damaged.")
    if unknown := sorted(set(values) - names):
        raise CartridgeRefused(f"The {what} has unknown fields {unknown}; remove them.")
    if missing := sorted(names - set(values)):
        raise CartridgeRefused(f"The {what} lacks the fields {missing}; write it again.")


def _require_int(value: object, name: str, *, least: int) -> None:
    # bool is an int to isinstance, and true is not a count.
    if type(value) is not int or not least <= value <= _MAX_INT:
        raise CartridgeRefused(f"The manifest's {name} must be a whole number of at least {least}.")


def _require_sha256(value: object, name: str) -> None:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise CartridgeRefused(f"The manifest's {name} must be a SHA-256 in 64 lower-case digits.")


def _require_time(value: object) -> None:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return
    raise CartridgeRefused(
        "The manifest's created_at must be UTC such as 2026-01-31T12:00:00.000000Z."
    )


def _require_json_object(value: object, name: str) -> None:
    if not isinstance(value, dict) or not _is_json(value, _MAX_DEPTH):
        raise CartridgeRefused(
            f"The manifest's {name} must be a JSON object of finite plain values, nested at most "
            f"{_MAX_DEPTH} deep."
        )


def _is_json(value: object, depth: int) -> bool:
    if depth == 0:
        return False
    if isinstance(value, dict):
        return all(
            isinstance(key, str) and _is_json(item, depth - 1) for key, item in value.items()
        )
    if isinstance(value, list):
        return _are_json(value, depth)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= _MAX_INT
    return value is None or isinstance(value, str)


def _are_json(values: Iterable[object], depth: int) -> bool:
    return all(_is_json(value, depth - 1) for value in values)
