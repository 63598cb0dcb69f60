"""The plots of the documentation are those of the committed result file."""

import json
from pathlib import Path

from benchmarks.plots import plots

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_the_plots_show_what_was_measured() -> None:
    result = json.loads((RESULTS / "serving.json").read_text(encoding="utf-8"))
    for name, drawn in plots(result).items():
        assert (RESULTS / name).read_bytes() == drawn, f"{name}: python -m benchmarks.plots"
