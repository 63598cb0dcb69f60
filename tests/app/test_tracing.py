"""Traces: a request's span with the parts of its answer beneath it, and a word where they cannot be."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.main import create_app
from app.settings import Settings
from app.tracing import TracingUnavailable, set_up_tracing
from tests.app.app_fakes import make_parts


def test_an_answer_is_a_tree_of_spans(settings: Settings) -> None:
    settings.data.mkdir(parents=True, exist_ok=True)
    exporter = InMemorySpanExporter()
    app = create_app(settings, make_parts())
    set_up_tracing(app, exporter)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.get("/health/live")
        client.post("/v1/documents", json={"id": "x", "text": "The boiler is red."})
        client.post("/v1/answers", json={"question": "What is red?"})
        app.state.end_traces()
        spans = {span.name: span for span in exporter.get_finished_spans()}
    assert "GET /health/live" not in spans
    request = spans["POST /v1/answers"]
    for name in ("retrieve", "load", "first token", "decode"):
        assert spans[name].parent is not None
        assert spans[name].parent.span_id == request.context.span_id
        assert spans[name].end_time >= spans[name].start_time
    attributes = spans["decode"].attributes or {}
    assert attributes["cartridges.mode"] == "auto"
    assert "red" not in str([span.attributes for span in spans.values()])


def test_without_the_extra_it_is_said(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracingUnavailable, match=r"\.\[otel\]"), serve(traces=True):
        pass
