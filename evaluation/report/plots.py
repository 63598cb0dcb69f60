"""The report's plots as SVG to stand in a page: the same numbers give the same bytes.

Colours are the page's own (CSS variables), so that a plot is light or dark as the page is. This file
draws; it computes no figure.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

from evaluation.report.report import Arm, Report

_INK, _MUTED, _GRID = "#fd0001", "#fd0002", "#fd0003"
_VARIABLES = {_INK: "--text", _MUTED: "--muted", _GRID: "--line"}
COLOURS = 8  # that the page defines for arms, --arm-0 to --arm-7
_MARKERS = "osD^vPX*"
_LONGEST = 28
_LABEL = "label-"  # ids of names beside points; the page keeps lines from crossing them
_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"


@dataclass(frozen=True, slots=True)
class Plot:
    """An SVG element and the same in words."""

    svg: str
    words: str


def frontier(arms: Sequence[Arm]) -> Plot | None:
    """Score against tokens and slots read, with intervals and the frontier; None without arms."""
    if not arms:
        return None
    with _figure(4.3) as (figure, plot):
        plot.set_xscale("log")
        places = []
        for index, arm in enumerate(arms):
            x, y = max(1.0, arm.costs.read_tokens.p50), arm.score.mean * 100
            low = y if arm.score.low is None else arm.score.low * 100
            high = y if arm.score.high is None else arm.score.high * 100
            colour = _colour(index)
            plot.plot([x, x], [low, high], color=colour, linewidth=1.6, alpha=0.75, zorder=3)
            plot.plot([x], [y], _MARKERS[index % COLOURS], color=colour, markersize=7.5, zorder=4)
            places.append((x, y, low, high))
        edge = sorted(
            (x, y) for arm, (x, y, _, _) in zip(arms, places, strict=True) if arm.on_frontier
        )
        if edge:
            points = zip(*edge, strict=True)
            plot.step(*points, "--", where="post", color=_MUTED, linewidth=1, zorder=2)
        smallest, largest = min(p[0] for p in places), max(p[0] for p in places)
        plot.set_xlim(smallest / 1.8, largest * 1.8)
        plot.set_ylim(-4, 104)
        plot.set_yticks(range(0, 101, 20))
        _ticks(plot.xaxis)
        plot.set_xlabel("prompt tokens and cartridge slots read for a question (median)")
        plot.set_ylabel("mean score of 100, 95 % interval")
        _label(figure, plot, [arm.name for arm in arms], places)
        svg = _drawn(figure, "frontier")
    words = "; ".join(
        f"{arm.name}: {arm.costs.read_tokens.p50:,.0f} tokens and slots, score {arm.score.mean * 100:.1f}"
        f"{', on the frontier' if arm.on_frontier else ''}"
        for arm in arms
    )
    return Plot(svg, f"Scores against tokens and slots read. {words}.")


def break_even(report: Report) -> Plot | None:
    """Cumulative cost against questions asked; None where nothing was trained."""
    if not report.curves or not report.break_evens:
        return None
    colour = {arm.name: _colour(index) for index, arm in enumerate(report.arms)}
    with _figure(3.9) as (figure, plot):
        plot.set_xscale("log")
        plot.set_yscale("log")
        for curve in report.curves:
            main = curve.arm == report.cartridge_arm
            plot.plot(
                curve.questions,
                curve.costs,
                color=colour[curve.arm],
                linewidth=2.4 if main else 1.4,
                label=_short(curve.arm),
                zorder=4 if main else 3,
            )
        once = {each.arm: each for each in report.curves}
        for each in report.break_evens:
            if each.arm == report.cartridge_arm and each.questions:
                theirs = once[each.against]
                cost = theirs.costs[0] / theirs.questions[0] * each.questions
                plot.plot([each.questions], [cost], "o", color=colour[each.against], zorder=5)
        plot.set_xlabel("questions asked")
        plot.set_ylabel(f"{report.cost_unit}, training included")
        _ticks(plot.xaxis)
        _ticks(plot.yaxis)
        plot.margins(x=0)
        plot.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), labelcolor=_INK)
        svg = _drawn(figure, "break-even")
    sentences = " ".join(e.sentence for e in report.break_evens if e.arm == report.cartridge_arm)
    return Plot(svg, f"Cost against questions asked. {sentences}")


@contextmanager
def _figure(height: float) -> Iterator[tuple[Any, Any]]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Nothing that differs from run to run; and an arm's name is text, not mathematics.
    settings: Any = {
        "svg.hashsalt": "cartridges",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 10.5,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _MUTED,
        "xtick.color": _MUTED,
        "ytick.color": _MUTED,
        "grid.color": _GRID,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The page's fonts show what the font that texts are measured with lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(7.6, height), layout="constrained")
        FigureCanvasAgg(figure)
        plot = figure.subplots()
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(axis="y")
        plot.set_axisbelow(True)
        yield figure, plot


def _colour(index: int) -> str:
    return f"#fd01{index % COLOURS:02x}"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = sorted(axis.get_view_interval())
    wide = high / max(low, 1e-12) > 2000
    axis.set_major_locator(LogLocator(base=10, subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.6g}" if value < 1 else f"{value:,.0f}")
    )


def _label(
    figure: Any,
    plot: Any,
    names: Sequence[str],
    places: Sequence[tuple[float, float, float, float]],
) -> None:
    """Write each name beside its point, where nothing else is."""
    from matplotlib.transforms import Bbox

    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    frame = plot.get_window_extent(renderer)
    taken = []
    for x, y, low, high in places:
        (left, bottom), (_, top) = plot.transData.transform([(x, low), (x, high)])
        middle = plot.transData.transform((x, y))[1]
        taken.append(Bbox([[left - 3, bottom], [left + 3, top]]))
        taken.append(Bbox([[left - 8, middle - 8], [left + 8, middle + 8]]))
    sides = [
        *((9, up, "left") for up in (10, -10, 0)),
        *((-9, up, "right") for up in (10, -10, 0)),
        *((0, up, "center") for up in (22, -22, 40, -40)),
    ]
    for index, (name, (x, y, _, _)) in enumerate(zip(names, places, strict=True)):
        text = None
        for across, up, alignment in sides:
            if text is not None:
                text.remove()
            text = plot.annotate(
                _short(name),
                (x, y),
                (across, up),
                textcoords="offset points",
                ha=alignment,
                va="center",
                fontsize=10,
                zorder=6,
                gid=f"{_LABEL}{index}",
            )
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 + 4
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def _drawn(figure: Any, name: str) -> str:
    """The figure as an SVG element with the page's colours, and ids that are its own."""
    file = BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(file.getvalue())  # noqa: S314 - what was just drawn
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
        for key, value in list(parent.attrib.items()):
            if key == "id":
                parent.set(key, f"{name}-{value}")
                if value.startswith(_LABEL):
                    parent.set("class", "label")
            elif key == f"{{{_LINK}}}href":
                del parent.attrib[key]
                parent.set("href", f"#{name}-{value[1:]}")
            elif "#" in value:
                parent.set(key, _coloured(value.replace("url(#", f"url(#{name}-")))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    # What is read aloud are the words that stand beside it.
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode")


def _coloured(style: str) -> str:
    def variable(match: re.Match[str]) -> str:
        colour = match[0]
        if colour in _VARIABLES:
            return f"var({_VARIABLES[colour]})"
        return f"var(--arm-{int(colour[-2:], 16)})" if colour.startswith("#fd01") else colour

    return re.sub(r"#[0-9a-f]{6}\b", variable, style)
