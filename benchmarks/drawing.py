"""Line plots for the documentation: the same numbers give the same bytes, so that a test finds stale ones.

This file draws; it knows no result file and measures nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO


@dataclass(frozen=True, slots=True)
class Point:
    """A place on a line, with its interval where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot; thin for a line of many points."""

    label: str
    colour: str
    points: Sequence[Point]
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes say; a logarithmic one has ticks at the points alone."""

    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    from_zero: bool = False


def drawn(lines: Sequence[Line], axes: Axes) -> bytes:
    """The plot as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Nothing that differs from run to run: ids from a fixed salt, text as text, no date.
    with mpl.rc_context({"svg.hashsalt": "cartridges", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        plot = figure.subplots()
        for line in lines:
            points = sorted(line.points, key=lambda point: point.x)
            at = [point.x for point in points]
            style, width = ("-", 0.8) if line.thin else ("o-", 1.5)
            plot.plot(
                at,
                [point.y for point in points],
                style,
                color=line.colour,
                label=line.label,
                linewidth=width,
            )
            low = [point.y if point.low is None else point.low for point in points]
            high = [point.y if point.high is None else point.high for point in points]
            plot.fill_between(at, low, high, color=line.colour, alpha=0.15)
        if axes.log_x:
            plot.set_xscale("log", base=2)
            ticks = sorted({point.x for line in lines for point in line.points})
            plot.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        if axes.log_y:
            plot.set_yscale("log")
        if axes.from_zero:
            plot.set_ylim(0, 1)
        if len(lines) > 1:
            plot.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
        plot.set_xlabel(axes.x)
        plot.set_ylabel(axes.y)
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(axis="y", alpha=0.25)
        found = BytesIO()
        figure.savefig(found, format="svg", metadata={"Date": None})
        return found.getvalue()
