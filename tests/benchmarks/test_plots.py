"""The plots of the documentation are those of the committed result files."""

from typing import Any

from benchmarks.plots import RESULTS, cas, plots


def test_the_plots_show_what_was_measured() -> None:
    made = plots()
    assert "serving-context.svg" in made
    for name, svg in made.items():
        assert (RESULTS / name).read_bytes() == svg, f"{name}: python -m benchmarks.plots"


def test_every_plot_of_the_folder_is_made_by_the_program() -> None:
    assert {path.name for path in RESULTS.glob("*.svg")} == set(plots())


def test_an_arm_that_was_not_measured_has_no_line() -> None:
    rows: list[dict[str, Any]] = [
        {"em": {"mixed": {"1": 0.9, "8": 0.85}, "monolithic": {"all": 0.4}}},
        {"em": {"mixed": {"1": 0.8, "8": 0.85}, "monolithic": {"all": 0.5}}},
        {"large": {"documents": 400}},
    ]
    (svg,) = cas({"rows": rows}).values()
    text = svg.decode()
    assert "exact match" in text
    assert "isolated" not in text
