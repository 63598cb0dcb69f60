"""The serving benchmark's plots, made from `docs/results/serving.json`: `python -m benchmarks.plots`.

Throughput against how many requests run together, and against the length of the context. The same file
gives the same bytes, so that a test can tell whether a plot is stale. This file draws; it measures nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]

_COLOURS = {
    "cartridge": "#0b6e4f",
    "cached text": "#c05621",
    "passages": "#6b46c1",
    "text": "#4a5568",
}
_LABELS = {
    "cartridge": "cartridges",
    "cached text": "ICL, text cached",
    "passages": "RAG passages",
    "text": "ICL with prefill",
}


def plots(result: Mapping[str, Any]) -> dict[str, bytes]:
    """File names and SVG bytes for a result of `cartridges bench serve`."""
    rows = [row for row in result["rows"] if row.get("arm") in _COLOURS]
    compared = next(r for r in result["rows"] if r.get("arm") == "PEFT generate")
    one_shape = [row for row in rows if row["shape"] == compared["shape"]]
    together = [row for row in rows if row["concurrency"] == compared["concurrency"]]
    return {
        "serving-concurrency.svg": _drawn(
            one_shape, lambda row: row["concurrency"], f"requests together, {compared['shape']}"
        ),
        "serving-context.svg": _drawn(
            together,
            lambda row: int(str(row["shape"]).split()[0]),
            f"tokens of context, {compared['concurrency']} requests together",
        ),
    }


def _drawn(rows: Rows, place: Callable[[Mapping[str, Any]], int], label: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Nothing that differs from run to run: ids from a fixed salt, text as text, no date.
    with mpl.rc_context({"svg.hashsalt": "cartridges", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for arm, colour in _COLOURS.items():
            points = sorted((place(row), row) for row in rows if row["arm"] == arm)
            at = [x for x, _ in points]
            low_high = [row["tokens_per_s_ci95"] or [row["tokens_per_s"]] * 2 for _, row in points]
            axes.plot(
                at,
                [row["tokens_per_s"] for _, row in points],
                "o-",
                color=colour,
                label=_LABELS[arm],
            )
            axes.fill_between(
                at, [b[0] for b in low_high], [b[1] for b in low_high], color=colour, alpha=0.15
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = sorted({place(row) for row in rows})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
        axes.set_xlabel(label)
        axes.set_ylabel("tokens a second")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        return drawn.getvalue()


def main() -> None:
    """Write the plots beside the result file."""
    folder = Path(__file__).parent.parent / "docs" / "results"
    result = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
    for name, drawn in plots(result).items():
        (folder / name).write_bytes(drawn)


if __name__ == "__main__":
    main()
