"""Traces: each request as an OpenTelemetry span, with the parts of an answer beneath it.

Where it goes is OpenTelemetry's own business (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin). Without the
`otel` extra there are none, and asking for them says so. Knows an application and a tracer; knows no route.
"""

import time
from typing import Any

from fastapi import FastAPI

from app.asked import Answer


class TracingUnavailable(RuntimeError):
    """Traces were asked for and cannot be made; the message says what to do."""


def set_up_tracing(app: FastAPI, exporter: Any = None) -> None:
    """Trace the app's requests to `exporter`, or by OTLP over HTTP. Raises TracingUnavailable."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingUnavailable(
            "CARTRIDGES_TRACES needs OpenTelemetry; pip install -e '.[otel]', or set it to false."
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "cartridge-qa"}))
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls="/health/.*,/metrics"
    )
    app.state.tracer = provider.get_tracer("cartridges")
    app.state.end_traces = provider.shutdown


def trace_answer(app: FastAPI, answer: Answer) -> None:
    """Spans of an answer's parts beneath the request's own, from the times that it tells itself."""
    tracer = getattr(app.state, "tracer", None)
    if tracer is None:
        return
    ended = time.time_ns()
    at = ended - int(answer.total_ms * 1e6)
    completion = answer.completion
    parts = {"retrieve": answer.retrieve_ms, "load": answer.load_ms}
    if completion is not None:
        parts |= {
            "first token": completion.first_token_ms,
            "decode": completion.total_ms - completion.first_token_ms,
        }
    for name, milliseconds in parts.items():
        span = tracer.start_span(name, start_time=at)
        at += int(milliseconds * 1e6)
        if name == "decode" and completion is not None:
            span.set_attributes(
                {
                    "cartridges.mode": answer.mode,
                    "cartridges.slots": completion.cartridge_slots,
                    "cartridges.prompt_tokens": completion.prompt_tokens,
                    "cartridges.completion_tokens": completion.completion_tokens,
                }
            )
        span.end(end_time=at)
