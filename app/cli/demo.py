"""`cartridges demo`: starts the service, ingests over REST, asks over REST, checks every answer."""

import os
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli.client import Client, connected
from app.cli.output import AsJson, print_json
from app.demo.material import Paper, Question, material
from app.settings import PREFIX, Settings
from benchmarks.vllm_process import VllmMissing, vllm_python
from evaluation.scoring import states

# What a shell says of the machine and the recipe, not of a service.
_KEPT = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("READER", "DEVICE", "DTYPE", "COMPRESSION", "SEED", "TRAINING"),
        *("LOG_FORMAT", "LOG_LEVEL", "VLLM_MODEL", "VLLM_PYTHON"),
    )
)
ENOUGH = 13
NOT_STATED = "That is not stated."
_ENDED = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class Row:
    """One question as both ways answered it; milliseconds are the service's own total."""

    question: Question
    cartridge: dict[str, Any]
    rag: dict[str, Any]

    def right(self, answer: dict[str, Any]) -> bool:
        """Whether an answer states the value, or abstains where nothing is stated."""
        if self.question.expected is None:
            return bool(answer["abstained"])
        return self.states(answer["answer"])

    def states(self, answer: str) -> bool:
        """The same of its words alone."""
        return states(answer, self.question.expected or NOT_STATED)

    @property
    def from_cartridge(self) -> bool:
        """Whether no document text was read for the first answer."""
        return all(source["via"] == "cartridge" for source in self.cartridge["sources"])


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Data folder; a temporary one is used otherwise.")
    ] = None,
    vllm: Annotated[
        bool,
        typer.Option(
            help="Then serve the cartridges by vLLM and ask again by OpenAI's client (make vllm-env)."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the main job: eight documents become cartridges and answer sixteen questions."""
    console = Console(stderr=as_json)
    if vllm:
        _require_vllm()
    with tempfile.TemporaryDirectory(prefix="cartridges-demo-") as temporary:
        folder = data or Path(temporary)
        started = time.monotonic()
        rows, trained = _run(folder, console)
        seconds = time.monotonic() - started
        mounted = _through_vllm(rows, folder, Path(temporary), console) if vllm else None
    right = sum(row.right(row.cartridge) and row.from_cartridge for row in rows)
    if as_json:
        figures = _summary(rows, trained, seconds)
        print_json(figures if mounted is None else figures | {"vllm": mounted})
    else:
        console.print(_table(rows))
        console.print(_sentences(rows, trained, seconds))
        if mounted is not None:
            console.print(_vllm_sentences(mounted))
    if right < ENOUGH:
        console.print(f"Fewer than {ENOUGH} answers from cartridges are right.")
        raise typer.Exit(1)


def _run(data: Path, console: Console) -> tuple[list[Row], list[dict[str, Any]]]:
    from app.service import Service

    # It has nothing to do with a service that this shell is set up for: not its Redis, nor its store.
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        if name not in _KEPT:
            del os.environ[name]
    papers, questions = material()
    # One torch thread per worker: two documents are distilled side by side.
    settings = Settings(data=data, port=0, workers=2, threads=1)
    with Service(settings) as service, connected(settings, service.url) as client:
        console.print(f"The service runs at {service.url}. Documents go in over REST.")
        trained = _ingest(client, papers, console)
        console.print("Every question is asked over REST twice: from cartridges and from text.")
        _ask(client, questions[0].text, "rag")  # loads the encoder; its time belongs to no answer
        rows = [
            Row(question, *(_ask(client, question.text, mode) for mode in ("cartridge", "rag")))
            for question in questions
        ]
    return rows, trained


def _ingest(client: Client, papers: list[Paper], console: Console) -> list[dict[str, Any]]:
    """Upload the papers and watch their jobs end; the jobs as they ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    jobs: dict[str, dict[str, Any]] = {}
    with Progress(*columns, console=console) as bars:
        tasks = {}
        for paper in papers:
            file = {"file": (paper.filename, paper.text.encode())}
            jobs[paper.filename] = client.request("POST", "/v1/documents", files=file)["job"]
            tasks[paper.filename] = bars.add_task(paper.filename, total=1.0)
        while any(job["status"] not in _ENDED for job in jobs.values()):
            time.sleep(0.5)
            for name, job in jobs.items():
                if job["status"] not in _ENDED:
                    jobs[name] = job = client.patient(f"/v1/jobs/{job['id']}")
                words = f"{name}: {job['stage'] or job['status']}"
                bars.update(tasks[name], completed=job["progress"], description=f"{words:<28}")
    for name, job in jobs.items():
        result = job["result"] or {}
        if not result.get("published"):
            console.print(f"{name} stays on text: {result.get('reason') or job['error']}")
    return list(jobs.values())


def _ask(client: Client, question: str, mode: str) -> dict[str, Any]:
    return client.request("POST", "/v1/answers", json={"question": question, "mode": mode})


def _require_vllm() -> None:
    """Before anything is trained. Raises `typer.BadParameter`."""
    try:
        vllm_python()
        import_module("app.demo.through_vllm")
    except VllmMissing as error:
        raise typer.BadParameter(str(error), param_hint="--vllm") from error
    except ImportError as error:
        raise typer.BadParameter("pip install openai, then repeat.", param_hint="--vllm") from error


def _through_vllm(rows: list[Row], data: Path, work: Path, console: Console) -> dict[str, Any]:
    """What vLLM answers to the same questions with the cartridges in the data folder."""
    from app.demo.through_vllm import Asked, serve_and_ask

    console.print(
        "vLLM mounts the cartridges and OpenAI's client asks every question again, twice."
    )
    asked = [
        Asked(row.question.text, tuple(each["document_id"] for each in row.cartridge["sources"]))
        for row in rows
    ]
    answers = serve_and_ask(Path(Settings().reader), data / "cartridges", work, asked)
    pairs = list(zip(rows, answers, strict=True))
    return {
        "right": sum(row.states(answer.named) for row, answer in pairs),
        "whole_collection_right": sum(row.states(answer.whole) for row, answer in pairs),
        "equal_to_the_service": sum(
            answer.named == row.cartridge["answer"].strip() for row, answer in pairs
        ),
        "answers": [asdict(answer) for answer in answers],
    }


def _vllm_sentences(found: dict[str, Any]) -> str:
    count = len(found["answers"])
    return (
        f"Through vLLM {found['right']} of {count} are right from the cartridges that retrieval chose "
        f"({found['equal_to_the_service']} word for word the service's answer), and "
        f"{found['whole_collection_right']} with the whole collection mounted at once."
    )


def _table(rows: list[Row]) -> Table:
    table = Table(title="Cartridges against RAG, the same questions", show_lines=True)
    for heading in ("Question", "Expected"):
        table.add_column(heading, overflow="fold")
    for arm in ("Cartridge", "RAG"):
        table.add_column(f"{arm} answer", overflow="fold")
        table.add_column("Prompt + slots" if arm == "Cartridge" else "Prompt", justify="right")
        table.add_column("ms", justify="right")
    for row in rows:
        table.add_row(
            row.question.text,
            row.question.expected or "(not stated)",
            *_cells(row, row.cartridge, slots=True),
            *_cells(row, row.rag, slots=False),
        )
    return table


def _cells(row: Row, answer: dict[str, Any], *, slots: bool) -> tuple[str, str, str]:
    usage = answer["usage"]
    tokens = str(usage["prompt_tokens"])
    if slots:
        tokens += f" + {usage['cartridge_slots']}"
        if not row.from_cartridge:
            tokens += " (text)"
    mark = "[green]✓[/]" if row.right(answer) else "[red]✗[/]"
    return f"{mark} {answer['answer']}", tokens, f"{answer['timings_ms']['total']:.0f}"


def _summary(rows: list[Row], trained: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    def mean(arm: str, *path: str) -> float:
        total = 0.0
        for row in rows:
            value: Any = getattr(row, arm)
            for key in path:
                value = value[key]
            total += value
        return total / len(rows)

    published = [job["result"] for job in trained if (job["result"] or {}).get("published")]
    return {
        "questions": len(rows),
        "cartridge_right": sum(r.right(r.cartridge) and r.from_cartridge for r in rows),
        "rag_right": sum(r.right(r.rag) for r in rows),
        "documents": len(trained),
        "cartridges": len(published),
        "mean_prompt_tokens": mean("cartridge", "usage", "prompt_tokens"),
        "mean_cartridge_slots": mean("cartridge", "usage", "cartridge_slots"),
        "mean_prompt_tokens_rag": mean("rag", "usage", "prompt_tokens"),
        "mean_ms": mean("cartridge", "timings_ms", "total"),
        "mean_ms_rag": mean("rag", "timings_ms", "total"),
        "seconds": round(seconds, 1),
        "rows": [
            {
                "question": row.question.text,
                "expected": row.question.expected,
                "cartridge": row.cartridge["answer"],
                "cartridge_right": row.right(row.cartridge) and row.from_cartridge,
                "rag": row.rag["answer"],
                "rag_right": row.right(row.rag),
            }
            for row in rows
        ],
    }


def _sentences(rows: list[Row], trained: list[dict[str, Any]], seconds: float) -> str:
    figures = _summary(rows, trained, seconds)
    return (
        f"{figures['cartridge_right']} of {figures['questions']} right from cartridges, "
        f"{figures['rag_right']} from RAG. A cartridge answer held "
        f"{figures['mean_prompt_tokens']:.0f} prompt tokens and "
        f"{figures['mean_cartridge_slots']:.0f} slots in {figures['mean_ms']:.0f} ms, a RAG answer "
        f"{figures['mean_prompt_tokens_rag']:.0f} prompt tokens in {figures['mean_ms_rag']:.0f} ms "
        f"(means). {figures['cartridges']} of {figures['documents']} documents became cartridges; "
        f"the whole run took {figures['seconds']:.0f} s."
    )
