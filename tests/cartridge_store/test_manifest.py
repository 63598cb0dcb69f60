import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import make_cartridge

from cartridge_store.errors import CartridgeRefused
from cartridge_store.manifest import Manifest, PositionRule, canonical_json, utc_now

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_any_plain_json_survives(recipe: dict[str, Any]) -> None:
    manifest = make_cartridge(recipe=recipe, figures=recipe).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("rule", [PositionRule("visible"), PositionRule("fixed", 0)])
def test_position_rules_survive(rule: PositionRule) -> None:
    manifest = make_cartridge(position_rule=rule).manifest
    assert Manifest.from_json(manifest.to_json()).position_rule == rule


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", 2),
        ("format_version", True),
        ("format_version", [1]),
        ("cartridge_id", "c123"),
        ("cartridge_id", None),
        ("collection", "../house"),
        ("document_id", "a/b"),
        ("document_id", "a..b"),
        ("document_id", 7),
        ("document_sha256", "A" * 64),
        ("document_sha256", "0" * 63),
        ("document_tokens", 0),
        ("document_tokens", 1.0),
        ("document_tokens", True),
        ("slots", -1),
        ("slots", "3"),
        ("slots", 2**63),
        ("dtype", "float16"),
        ("dtype", ["bfloat16"]),
        ("reader_fingerprint", ""),
        ("tokenizer_fingerprint", None),
        ("position_rule", "fixed"),
        ("position_rule", {"kind": "fixed"}),
        ("position_rule", {"kind": "fixed", "offset": None}),
        ("position_rule", {"kind": "fixed", "offset": -1}),
        ("position_rule", {"kind": "visible", "offset": 3}),
        ("position_rule", {"kind": "other", "offset": 3}),
        ("position_rule", {"kind": "visible", "offset": None, "more": 1}),
        ("initialiser", ""),
        ("recipe", []),
        ("recipe", {"a": 10**20}),
        ("figures", None),
        ("parent", "boiler"),
        ("created_at", "2026-01-31T12:00:00Z"),
        ("created_at", "2026-02-31T12:00:00.000000Z"),
        ("created_at", "2026-01-31T12:00:00.000000+01:00"),
        ("tensors_sha256", 0),
    ],
)
def test_a_bad_field_is_refused(field: str, value: object) -> None:
    values = make_cartridge().manifest.to_dict()
    assert field in values
    with pytest.raises(CartridgeRefused):
        Manifest.from_json(canonical_json(values | {field: value}))


def test_unknown_and_missing_fields_are_named() -> None:
    values = make_cartridge().manifest.to_dict()
    with pytest.raises(CartridgeRefused, match=r"unknown fields \['colour'\]"):
        Manifest.from_json(canonical_json(values | {"colour": "red"}))
    del values["slots"]
    with pytest.raises(CartridgeRefused, match=r"lacks the fields \['slots'\]"):
        Manifest.from_json(canonical_json(values))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '{"a":' * 500 + "1" + "}" * 500,
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":' + "9" * 5000 + "}",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(CartridgeRefused):
        Manifest.from_json(text)


def test_only_canonical_json_is_read() -> None:
    text = make_cartridge().manifest.to_json()
    assert Manifest.from_json(text).to_json() == text
    for other in (text + " ", json.dumps(json.loads(text)), '{"slots":3,' + text[1:]):
        with pytest.raises(CartridgeRefused, match="canonical"):
            Manifest.from_json(other)


@pytest.mark.parametrize("recipe", [{"lr": float("nan")}, {"lr": object()}, {"lr": {1, 2}}])
def test_a_recipe_that_is_not_json_is_refused(recipe: dict[str, Any]) -> None:
    with pytest.raises(CartridgeRefused):
        make_cartridge(recipe=recipe)


def test_times_sort_as_text() -> None:
    times = [utc_now() for _ in range(50)]
    assert times == sorted(times)
    assert {len(time) for time in times} == {len("2026-01-31T12:00:00.000000Z")}
