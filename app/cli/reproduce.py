"""`cartridges reproduce`: measure again what the documentation quotes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.measuring import print_result, progress_bar
from app.cli.output import AsJson, CommandFailed
from app.settings import Settings
from inference.allocation import keep_freed_memory

_EXPERIMENTS = ("gates", "reader", "cas", "comparison", "living")
_WORKING = ("cas", "comparison", "living")  # keep what they have done in a folder
_GROWING = ("cas", "living")  # measure one seed after the other
_SEEDS = {"comparison": 5, "reader": 10}  # as many as its published figures are of
_HANDWRITTEN = Path("tests/handwritten")  # of a checkout; left out where there is none
_UNSEEN = Path("tests/handwritten_unseen")


def reproduce(
    experiment: Annotated[
        str, typer.Argument(help="What to measure: gates, reader, cas, comparison or living.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, help="How many seeds: 3, of comparison 5, of reader 10, if not said."
        ),
    ] = None,
    small: Annotated[
        bool, typer.Option(help="cas: four documents; writes cas-small.json.")
    ] = False,
    ablations: Annotated[bool, typer.Option(help="cas: every ablation too, many hours.")] = False,
    large: Annotated[
        bool, typer.Option(help="cas: a collection of a million tokens too, about an hour.")
    ] = False,
    more: Annotated[
        bool,
        typer.Option(help="cas, living: keep what the result file has of other or the same seeds."),
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(help="cas, comparison, living: where its training lies and goes on from."),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(
            envvar="CARTRIDGES_REAL_DATA",
            help="comparison, living: a folder with SQuAD's dev-v1.1.json, if any.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment over several seeds and write its result file."""
    if experiment not in _EXPERIMENTS:
        raise CommandFailed(
            f"There is no experiment {experiment!r}; choose one of {', '.join(_EXPERIMENTS)}."
        )
    if experiment != "cas" and (small or ablations or large):
        raise CommandFailed("--small, --ablations and --large are options of cas; leave them out.")
    if experiment not in _WORKING and work:
        raise CommandFailed("--work is an option of cas, comparison and living; leave it out.")
    if experiment not in _GROWING and more:
        raise CommandFailed("--more is an option of cas and living; leave it out.")
    seeds = _SEEDS.get(experiment, 3) if seeds is None else seeds
    keep_freed_memory()
    with progress_bar(experiment) as progress:
        if experiment == "cas":
            result = _run_cas(
                out, seeds, work, progress, small=small, ablations=ablations, large=large, more=more
            )
        elif experiment == "comparison":
            result = _run_comparison(out, seeds, work, real, progress)
        elif experiment == "living":
            result = _run_living(out, seeds, work, real, progress, more=more)
        else:
            result = _run(experiment, out, seeds, progress)
    print_result(result, as_json=as_json)


def _run(
    experiment: str, out: Path, seeds: int, report: Callable[[str, float], None]
) -> dict[str, Any]:
    reader = Settings().reader
    if experiment == "gates":
        from evaluation.gates import FIRST_SEED, GatesPlan, run_gates

        drawn = tuple(range(FIRST_SEED, FIRST_SEED + seeds))
        return run_gates(reader, out, GatesPlan(seeds=drawn), report)
    from evaluation.reading import ReadingPlan, run_reading

    plan = ReadingPlan(
        seeds=tuple(range(201, 201 + seeds)),
        handwritten=_HANDWRITTEN if _HANDWRITTEN.is_dir() else None,
        unseen=_UNSEEN if _UNSEEN.is_dir() else None,
    )
    return run_reading(reader, out, plan, report)


def _run_cas(
    out: Path,
    seeds: int,
    work: Path | None,
    report: Callable[[str, float], None],
    *,
    small: bool,
    ablations: bool,
    large: bool,
    more: bool,
) -> dict[str, Any]:
    from dataclasses import replace

    from evaluation.cas import run_cas
    from evaluation.collection import ABLATIONS, ARMS, FIRST_SEED, SMALL, CasPlan
    from evaluation.large import LargePlan

    settings = Settings()
    name = "cas-small" if small else "cas"
    plan = replace(
        SMALL if small else CasPlan(), seeds=tuple(range(FIRST_SEED, FIRST_SEED + seeds))
    )
    if ablations:
        plan = replace(plan, arms=ARMS | ABLATIONS)
    flags = " --small" * small + " --ablations" * ablations
    return run_cas(
        settings.reader,
        out,
        plan,
        work or settings.data / "reproduce" / "cas",
        report,
        large=LargePlan() if large else None,
        more=more,
        name=name,
        command=f"cartridges reproduce cas{flags}",
    )


def _run_comparison(
    out: Path,
    seeds: int,
    work: Path | None,
    real: Path | None,
    report: Callable[[str, float], None],
) -> dict[str, Any]:
    from benchmarks.articles import ArticlesPlan
    from benchmarks.comparison import FIRST_SEED, ComparisonPlan, run_comparison

    folder, command = _worked("comparison", work, real)
    articles = _articles(real, folder)
    plan = ComparisonPlan(
        seeds=tuple(range(FIRST_SEED, FIRST_SEED + seeds)),
        articles=None if articles is None else ArticlesPlan(articles),
    )
    return run_comparison(out, plan, folder, report, command=command)


def _run_living(
    out: Path,
    seeds: int,
    work: Path | None,
    real: Path | None,
    report: Callable[[str, float], None],
    *,
    more: bool,
) -> dict[str, Any]:
    from benchmarks.living import FIRST_SEED, LivingPlan, run_living

    folder, command = _worked("living", work, real)
    articles = _articles(real, folder)
    plan = LivingPlan(seeds=tuple(range(FIRST_SEED, FIRST_SEED + seeds)), articles=articles)
    return run_living(out, plan, folder, report, more=more, command=command)


def _worked(name: str, work: Path | None, real: Path | None) -> tuple[Path, str]:
    """The folder that an experiment works in, and how it is told to be run again, but for its seeds."""
    named = "" if real is None else " --real FOLDER"
    folder = work or Settings().data / "reproduce" / name
    return folder, f"cartridges reproduce {name}{named}"


def _articles(real: Path | None, work: Path) -> Path | None:
    """Every other article, by title, of SQuAD's development set, as a file: one that is there already, or
    one that is made in `work` of SQuAD's own. Raises CommandFailed where there is neither."""
    if real is None:
        return None
    halved, whole = real / "squad_v1.1_dev_even.json", real / "dev-v1.1.json"
    if halved.is_file():
        return halved
    try:
        read = json.loads(whole.read_text(encoding="utf-8"))
        read["data"] = sorted(read["data"], key=lambda article: str(article["title"]))[::2]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CommandFailed(
            f"There is no SQuAD in {whole} ({error}); name its folder with --real, or leave it out."
        ) from error
    work.mkdir(parents=True, exist_ok=True)
    made = work / "articles.json"
    made.write_text(json.dumps(read), encoding="utf-8")
    return made
