"""The documentation's plots, made from `docs/results/` and the reader's log: `python -m benchmarks.plots`.

A test compares them with what they are made from. This file knows result files; it measures nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.drawing import Axes, Line, Point, drawn
from evaluation.statistics import estimate

Rows = Sequence[Mapping[str, Any]]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"

_SERVING = {
    "cartridge": ("cartridges", "#0b6e4f"),
    "cached text": ("ICL, text cached", "#c05621"),
    "passages": ("RAG passages", "#6b46c1"),
    "text": ("ICL with prefill", "#4a5568"),
}
_CAS = {
    "icl": ("texts in context", "#4a5568"),
    "mixed": ("mixed, 10x", "#0b6e4f"),
    "mixed_20x": ("mixed, 20x", "#68a691"),
    "isolated": ("isolated, 10x", "#c05621"),
    "next_token": ("next token, 10x", "#6b46c1"),
    "compaction_untrained": ("compaction, untrained", "#2b6cb0"),
    "first_tokens_untrained": ("first tokens, untrained", "#a0aec0"),
}
_SMOOTHED = 15  # records of the reader's log that one point of its curve averages


def serving(result: Mapping[str, Any]) -> dict[str, bytes]:
    """Throughput against how many requests run together, and against the length of the context."""
    rows = [row for row in result["rows"] if row.get("arm") in _SERVING]
    compared = next(r for r in result["rows"] if r.get("arm") == "PEFT generate")
    one_shape = [row for row in rows if row["shape"] == compared["shape"]]
    together = [row for row in rows if row["concurrency"] == compared["concurrency"]]

    def plot(chosen: Rows, place: Callable[[Mapping[str, Any]], int], label: str) -> bytes:
        lines = []
        for arm, (name, colour) in _SERVING.items():
            points = [
                Point(place(row), row["tokens_per_s"], *(row["tokens_per_s_ci95"] or (None, None)))
                for row in chosen
                if row["arm"] == arm
            ]
            lines.append(Line(name, colour, points))
        return drawn(lines, Axes(label, "tokens a second", log_x=True, log_y=True))

    return {
        "serving-concurrency.svg": plot(
            one_shape, lambda row: row["concurrency"], f"requests together, {compared['shape']}"
        ),
        "serving-context.svg": plot(
            together,
            lambda row: int(str(row["shape"]).split()[0]),
            f"tokens of context, {compared['concurrency']} requests together",
        ),
    }


def cas(result: Mapping[str, Any]) -> dict[str, bytes]:
    """Exact match against how many cartridges are loaded beside a document's own."""
    rows = [row for row in result["rows"] if "em" in row]
    lines = []
    for arm, (name, colour) in _CAS.items():
        loaded = [count for count in rows[0]["em"].get(arm, {}) if count != "all"]
        points = [_over(rows, int(count), ("em", arm, count)) for count in loaded]
        if points:
            lines.append(Line(name, colour, points))
    axes = Axes("cartridges loaded, look-alike neighbours first", "exact match", True, False, True)
    return {"cas-loaded.svg": drawn(lines, axes)}


def reader(result: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Exact match by the place of a document among four, and the loss of the training run."""
    rows = result["rows"]
    places = [
        _over(rows, place + 1, ("em_4k_by_document", place))
        for place in range(len(rows[0]["em_4k_by_document"]))
    ]
    by_place = Axes("place of the document among four, 4,000 tokens", "exact match", from_zero=True)
    curve = []
    for start in range(0, len(log), _SMOOTHED):
        some = log[start : start + _SMOOTHED]
        loss = sum(record["loss"] for record in some) / len(some)
        curve.append(Point(some[-1]["step"], loss))
    return {
        "reader-position.svg": drawn([Line("one document's facts", "#0b6e4f", places)], by_place),
        "reader-loss.svg": drawn(
            [Line("loss", "#4a5568", curve, thin=True)],
            Axes("step", "loss of learned tokens, by stages", log_y=True),
        ),
    }


def _over(rows: Rows, x: float, path: Sequence[str | int]) -> Point:
    """The mean over the rows' figure at `path`, with its interval."""
    values = []
    for row in rows:
        found: Any = row
        for key in path:
            found = found[key]
        values.append(float(found))
    estimated = estimate(values)
    return Point(x, estimated.mean, estimated.low, estimated.high)


def plots() -> dict[str, bytes]:
    """File names and SVG bytes of every plot whose result file there is."""

    def stored(name: str) -> Mapping[str, Any] | None:
        path = RESULTS / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    made: dict[str, bytes] = {}
    if (found := stored("serving")) is not None:
        made |= serving(found)
    if (found := stored("cas")) is not None:
        made |= cas(found)
    if (found := stored("reader")) is not None:
        lines = (ROOT / "reader" / "checkpoint" / "log.jsonl").read_text(encoding="utf-8")
        made |= reader(found, [json.loads(line) for line in lines.splitlines()])
    return made


def main() -> None:
    """Write the plots beside the result files."""
    for name, svg in plots().items():
        (RESULTS / name).write_bytes(svg)


if __name__ == "__main__":
    main()
