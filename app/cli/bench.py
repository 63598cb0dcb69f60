"""`cartridges bench`: what things cost, side by side in one run."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.measuring import print_result, progress_bar
from app.cli.output import AsJson, print_json
from app.settings import Settings

bench = typer.Typer(
    no_args_is_help=True, help="Measure what serving and training cost, side by side."
)


@bench.command()
def answer(
    rounds: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Answer the same questions from a cartridge and from text, and compare."""
    from benchmarks.answering import measure
    from inference.reader import load_reader

    settings = Settings()
    reader = load_reader(settings.reader, device=settings.device, dtype=settings.dtype)
    result = measure(reader, rounds=rounds)
    if as_json:
        print_json(result)
        return
    typer.echo(f"{result['document_tokens']} tokens of text, {result['slots']} slots")
    for row in result["rows"]:
        typer.echo(
            f"{row['arm']:>10}: first token {row['first_token_ms']} ms, "
            f"answer {row['total_ms']} ms, {row['kv_bytes']} bytes of KV"
        )
    typer.echo(f"text over cartridge: {result['ratios_text_over_cartridge']}")


@bench.command()
def serve(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    rounds: Annotated[int, typer.Option(min=2, help="Waves of every arm.")] = 5,
    as_json: AsJson = False,
) -> None:
    """The engine against in-context learning, RAG, transformers' generate and PEFT's CARTRIDGE."""
    from benchmarks.serving import ServingPlan, run_serving
    from inference.reader import load_reader
    from inference.threads import compute_alone

    settings = Settings()
    all_threads = compute_alone()  # before the reader's loading computes with all of them
    threads = settings.threads or all_threads
    reader = load_reader(settings.reader, device=settings.device, dtype=settings.dtype)
    with progress_bar("serving") as progress:
        result = run_serving(reader, out, ServingPlan(rounds=rounds, threads=threads), progress)
    print_result(result, as_json=as_json)


@bench.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    rounds: Annotated[int, typer.Option(min=2, help="Runs of either side.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Training steps beside those of PEFT's CARTRIDGE example."""
    from benchmarks.training import TrainPlan, run_training

    with progress_bar("training") as progress:
        result = run_training(Settings().reader, out, TrainPlan(rounds=rounds), progress)
    print_result(result, as_json=as_json)


@bench.command()
def store(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of killing.")] = 500,
    as_json: AsJson = False,
) -> None:
    """The store under kill -9, flipped bits and load."""
    from benchmarks.store import StorePlan, run_store

    with progress_bar("store") as progress:
        result = run_store(out, StorePlan(rounds=rounds), progress)
    print_result(result, as_json=as_json)


@bench.command()
def load(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    clients: Annotated[int, typer.Option(min=1, help="Clients at once.")] = 64,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """The whole service under many clients, then with Redis stopped and its worker killed."""
    from benchmarks.load import LoadPlan, run_load

    with progress_bar("load") as progress:
        result = run_load(out, LoadPlan(clients=clients, minutes=minutes), progress)
    print_result(result, as_json=as_json)


@bench.command()
def routing(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    seeds: Annotated[int, typer.Option(min=2, help="Demands that are drawn.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Routing by residency against hashing and chance: a thousand simulated nodes."""
    from benchmarks.routing import RoutingPlan, run_routing

    with progress_bar("routing") as progress:
        result = run_routing(out, RoutingPlan(seeds=tuple(range(seeds))), progress)
    print_result(result, as_json=as_json)


@bench.command()
def fleet(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    documents: Annotated[int, typer.Option(min=12, help="Documents of the collection.")] = 200,
    reader: Annotated[
        str | None, typer.Option(help="Path of a reader; a small random one without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A collection trained by one process and by two Ray workers, of which some are killed."""
    from benchmarks.fleet import FleetPlan, run_fleet

    with progress_bar("fleet") as progress:
        result = run_fleet(reader, out, FleetPlan(documents=documents), progress)
    print_result(result, as_json=as_json)


@bench.command()
def vllm(
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = Path("docs/results"),
    rounds: Annotated[int, typer.Option(min=2, help="Waves of every arm.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Stock vLLM with cartridges, beside the same server with RAG text and full documents."""
    from benchmarks.vllm import VllmPlan, run_vllm
    from benchmarks.vllm_process import VllmMissing
    from inference.reader import load_reader

    reader = load_reader(Settings().reader, device="cpu", dtype="float32")
    try:
        with progress_bar("vllm") as progress:
            result = run_vllm(reader, out, VllmPlan(rounds=rounds), progress)
    except VllmMissing as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    print_result(result, as_json=as_json)
