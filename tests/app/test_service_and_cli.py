"""The service as one process tree, and the commands that talk to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.address import running_service
from app.checkup import examine
from app.cli import cli, main
from app.cli import client as client_module
from app.cli.output import CommandFailed
from app.service import Service, ServiceError
from app.settings import Settings, mistaken
from cartridge_store.errors import FolderBusy
from tests.app.app_fakes import FakeEngine, FakeReader, make_parts, make_settings

WORKER = (sys.executable, "-m", "tests.app.worker_with_fakes")
TEXT = "# The garden flat\n\nThe boiler was last serviced by Franz Huber.\n"


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine(delay=0.01)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[Service]:
    """A service of fakes with its own Redis and one worker process."""
    settings = make_settings(tmp_path_factory.mktemp("service") / "data", port=0)
    with Service(settings, make_parts(engine=engine), worker_command=WORKER) as service:
        yield service


@pytest.fixture
def run(service: Service, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command on the service's data folder; returns exit code, stdout and stderr."""
    monkeypatch.setenv("CARTRIDGES_DATA", str(service.settings.data))

    def run(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, list(arguments))
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def handlers() -> Iterator[None]:
    """Commands take over signals; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def failing(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: str) -> tuple[int, str]:
    """The exit code and stderr of a command that fails."""
    monkeypatch.setattr(sys, "argv", ["cartridges", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_ingest_ask_and_train(run: Any, tmp_path: Path) -> None:
    (tmp_path / "garden.md").write_text(TEXT)
    (tmp_path / "vague.txt").write_text("A VAGUE text.")
    code, out, _ = run("ingest", str(tmp_path), "--json")
    assert code == 0
    documents = {Path(d["file"]).name: d for d in json.loads(out)["documents"]}
    assert documents["garden.md"]["outcome"] == "ready"
    assert documents["garden.md"]["status"] == "ready"
    assert documents["vague.txt"]["outcome"].startswith("answered from its text.")

    code, out, err = run("ask", "Who serviced the boiler?")
    assert (code, out) == (0, "1 cartridges and 0 texts\n")
    assert "The garden flat (as cartridge)" in err
    code, out, _ = run("ask", "Who serviced the boiler?", "--mode", "rag", "--json")
    assert json.loads(out)["mode"] == "rag"

    code, out, _ = run("train", "default")
    assert code == 0
    assert out.startswith("default: 1 cartridges published, 1 not.\n  a-vague-text-")
    assert out.endswith(": Too few held-out answers are right.\n")
    path = tmp_path / "garden.md"
    code, out, _ = run("ingest", str(path))
    taken_in = f"{path}: taken in as {documents['garden.md']['id']}, and can be asked about\n"
    assert (code, out) == (0, f"{taken_in}{path}: ready\n")
    code, out, _ = run("ingest", str(path), "--no-wait")
    assert (code, out) == (0, taken_in)


def test_documents_are_listed_read_trained_and_deleted(run: Any, tmp_path: Path) -> None:
    for name in ("moat", "keep"):
        (tmp_path / f"{name}.md").write_text(f"# The {name} [old]\n\nThe {name} is deep.\n")
    assert run("ingest", str(tmp_path), "--collection", "castle")[0] == 0
    among = ("--collection", "castle")
    code, out, _ = run("documents", "list", *among, "--json")
    listed = {each["title"]: each for each in json.loads(out)}
    assert (code, listed.keys()) == (0, {"The moat [old]", "The keep [old]"})
    moat, keep = (listed[f"The {name} [old]"]["id"] for name in ("moat", "keep"))
    code, out, _ = run("documents", "list", *among)
    assert code == 0
    assert moat in out
    assert "[old]" in out
    code, out, _ = run("documents", "text", moat, *among)
    assert (code, out) == (0, "# The moat [old]\n\nThe moat is deep.\n")
    assert run("documents", "train", moat, *among)[:2] == (0, f"{moat}: ready\n")
    code, out, err = run("documents", "delete", moat, "no/where", keep, *among)
    assert (code, out) == (1, f"{moat}: deleted\n{keep}: deleted\n")
    assert err.startswith("no/where: ")
    assert json.loads(run("documents", "list", *among, "--json")[1]) == []


def test_whoever_stops_watching_is_told_what_becomes_of_it(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "garden.md").write_text("The hedge was cut by Mira Tolen.")

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(client_module.Client, "patient", interrupted)
    code, out, err = run("ingest", str(tmp_path))
    assert code != 0
    assert "taken in as" in out
    assert "the service goes on with it" in err
    assert run("train", "default")[2].count("the service goes on with it") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("train", "a/b"),
        ("calibrate", "a/b"),
        ("release", "a/b"),
        ("documents", "text", "a/b"),
        ("train", ".."),
    ],
)
def test_a_name_that_would_be_another_address_is_refused(
    run: Any, command: tuple[str, ...]
) -> None:
    ended = CliRunner().invoke(cli, [*command])
    assert isinstance(ended.exception, CommandFailed)
    assert "is no name" in str(ended.exception)


def test_a_name_that_asks_something_is_a_name_all_the_same(run: Any) -> None:
    ended = CliRunner().invoke(cli, ["train", "x?y=1"])
    assert isinstance(ended.exception, CommandFailed)
    assert "x?y=1" in str(ended.exception) or "letters" in str(ended.exception)


def test_what_an_option_is_not_for_is_said(tmp_path: Path) -> None:
    (tmp_path / "castle.cartridges").write_bytes(b"x")
    for command, told in (
        (("import", str(tmp_path / "castle.cartridges"), "--document", "d"), "for an adapter"),
        (("report", "default", "--resume", "r", "--seed", "3"), "as it was ordered"),
    ):
        ended = CliRunner().invoke(cli, [*command])
        assert isinstance(ended.exception, CommandFailed)
        assert told in str(ended.exception)


def test_a_mistaken_setting_is_told_of() -> None:
    environment = {"CARTRIDGES_WORKRES": "2", "CARTRIDGES_API_KEY": "k", "CARTRIDGES_PORT": "1"}
    said = list(mistaken(environment | {"CARTRIDGES_XYZ": "1", "HOME": "/"}))
    assert said == [
        "CARTRIDGES_WORKRES is no setting; did you mean CARTRIDGES_WORKERS?",
        "CARTRIDGES_XYZ is no setting; see docs/settings.md.",
    ]
    code = "import sys; sys.argv = ['cartridges', 'world', '--help']; import app.cli as c; c.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CARTRIDGES_WORKRES": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "did you mean CARTRIDGES_WORKERS?" in ended.stderr


def test_a_file_that_is_refused_stops_no_other(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x00\x01")
    (tmp_path / "b.md").write_text("# The gate\n\nThe gate was painted green.\n")
    (tmp_path / "folder.md").mkdir()
    code, out, _ = run("ingest", str(tmp_path), "--collection", "gates")
    assert code == 1
    assert f"{tmp_path / 'b.md'}: ready" in out
    assert f"{tmp_path / 'a.txt'}: The document is not text" in out


def test_a_name_that_is_not_utf8_is_shown_as_well_as_can_be(run: Any, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.txt")).write_text("The wall is low.")
    (tmp_path / "b.md").write_text("# The gate\n\nThe gate was painted green.\n")
    code, out, _ = run("ingest", str(tmp_path), "--collection", "walls", "--json")
    assert code == 0
    documents = json.loads(out)["documents"]
    assert [each["outcome"] for each in documents] == ["ready", "ready"]
    assert {Path(each["file"]).name for each in documents} == {"a\ufffd.txt", "b.md"}
    failed = CliRunner().invoke(cli, ["ask", os.fsdecode(b"Who \xff?")])
    assert "not UTF-8" in str(failed.exception)


def test_a_key_that_has_asked_too_often_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", waited.append)
    answers = iter([429, 429, 200])
    problem = {"detail": "Too many.", "code": "too-many-requests"}

    def handler(request: httpx.Request) -> httpx.Response:
        status = next(answers, 429)
        return httpx.Response(status, json=problem, headers={"Retry-After": "3"})

    http = httpx.Client(transport=httpx.MockTransport(handler), base_url="http://here")
    client = client_module.Client(http)
    assert client.request("GET", "/v1/jobs") == problem
    assert waited == [3.0, 3.0]
    with pytest.raises(CommandFailed, match="Too many"):
        client.read("/v1/reports/r", "text/html")
    assert len(waited) == 12
    # What waiting does not mend is said at once.
    problem["code"] = "too-many-reports"
    with pytest.raises(CommandFailed, match="Too many"):
        client.request("POST", "/v1/reports")
    assert len(waited) == 12


def test_a_service_that_is_away_for_a_moment_ends_no_watching(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", waited.append)
    answers = iter([503, None, 500, 200])

    def handler(request: httpx.Request) -> httpx.Response:
        status = next(answers, 404)
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json={"detail": "Redis does not answer.", "status": "x"})

    http = httpx.Client(transport=httpx.MockTransport(handler), base_url="http://here")
    client = client_module.Client(http)
    assert client.patient("/v1/jobs/j")["status"] == "x"
    assert len(waited) == 3
    with pytest.raises(CommandFailed, match="Redis"):  # what is not there will not be
        client.patient("/v1/jobs/j")
    answers = iter([503] * 500)
    with pytest.raises(CommandFailed, match="Redis"):  # nor is anybody waited for for ever
        client.patient("/v1/jobs/j")
    with pytest.raises(CommandFailed):  # an order is not given twice
        client.request("POST", "/v1/reports")


def test_an_edited_file_is_a_new_version_where_that_is_wanted(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "flats"
    folder.mkdir()
    found = []
    for rent in (700, 800):
        (folder / "garden.md").write_text(f"The rent of the shed is {rent} euros.")
        code, out, _ = run("ingest", str(folder), "--replace", "--json")
        assert code == 0
        (document,) = json.loads(out)["documents"]
        found.append((document["id"], document["version"]))
    assert found == [(found[0][0], 1), (found[0][0], 2)]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "garden.md").write_text("Another garden.")
    result = CliRunner().invoke(
        cli, ["ingest", str(folder), str(tmp_path / "b"), "--replace"], catch_exceptions=True
    )
    assert "versions of one document, garden.md" in str(result.exception)


def test_verify_reads_every_cartridge_and_deletes_what_was_replaced(
    run: Any, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shed.md").write_text("# The shed\n\nThe shed was built by Mira Tolen.\n")
    (tmp_path / "gate.md").write_text("# The gate\n\nThe gate was painted by Franz Huber.\n")
    assert run("ingest", str(tmp_path), "--collection", "sheds")[0] == 0
    assert run("train", "sheds")[0] == 0  # the fake's second version is of other tensors
    monkeypatch.setenv("CARTRIDGES_GRACE_SECONDS", "0")
    code, out, _ = run("verify", "--collect", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["problems"] == []
    assert said["whole"] >= 2
    assert len(said["collected"]) >= 2  # and what earlier tests replaced
    code, out, _ = run("verify")
    assert (code, out) == (0, f"{said['whole']} cartridges are whole.\n")
    folder = service.settings.data / "cartridges"
    (folder / f"c{'0' * 40}.safetensors").write_bytes(b"not one")
    code, out, _ = run("verify")
    (folder / f"c{'0' * 40}.safetensors").unlink()
    assert code == 1
    assert out.startswith(f"FAIL c{'0' * 40}.safetensors: ")


def test_a_dead_worker_is_started_again(service: Service) -> None:
    client = httpx.Client(base_url=service.url, timeout=30)
    posted = client.post("/v1/documents", json={"id": "slow", "text": "A SLOW text."})
    job = posted.json()["job"]["id"]
    deadline = time.monotonic() + 20
    while not client.get(f"/v1/jobs/{job}").json()["progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (worker,) = _children(os.getpid(), "worker_with_fakes")
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert b"glibc.malloc.hugetlb=1" in environment
    # What nobody said means another thing to a fleet.
    assert b"CARTRIDGES_THREADS=" not in environment
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 40
    while client.get(f"/v1/jobs/{job}").json()["status"] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    client.close()
    assert _children(os.getpid(), "worker_with_fakes") != [worker]


def test_an_embedded_redis_that_died_is_started_again(service: Service) -> None:
    (redis,) = _children(os.getpid(), str(service.settings.data))
    os.kill(redis, signal.SIGKILL)
    deadline = time.monotonic() + 30
    with httpx.Client(base_url=service.url, timeout=30) as client:
        while client.post("/v1/documents", json={"id": "after", "text": "It is back."}).is_error:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.get("/health/ready").status_code == 200
    assert _children(os.getpid(), str(service.settings.data)) != [redis]


def test_an_abandoned_stream_stops_the_engine(service: Service, engine: FakeEngine) -> None:
    body = {"question": "Talk for ever.", "mode": "none", "stream": True}
    with (
        httpx.Client(base_url=service.url) as client,
        client.stream("POST", "/v1/answers", json=body) as response,
    ):
        lines = response.iter_lines()  # whose end is the response's
        assert next(line for line in lines if line == "event: token")
        assert not engine.streams[-1].cancelled.is_set()
    assert engine.streams[-1].cancelled.wait(5)


def test_a_second_service_on_the_data_folder_is_refused(service: Service) -> None:
    with pytest.raises(FolderBusy, match="in use by process"), Service(service.settings):
        pass
    # The first one goes on.
    assert httpx.get(f"{service.url}/health/ready").status_code == 200


def test_a_port_in_use_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, handlers: None
) -> None:
    monkeypatch.setenv("CARTRIDGES_DATA", str(tmp_path / "data"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, err = failing(monkeypatch, capsys, "serve", "--port", str(port))
    assert (code, err.count("\n")) == (1, 1)
    assert f"Port {port} is in use" in err


def test_errors_are_one_sentence_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, handlers: None
) -> None:
    monkeypatch.setenv("CARTRIDGES_DATA", str(tmp_path / "data"))
    for arguments, words in (
        (("worker",), "No service runs on the data folder"),
        (("serve", "--host", "0.0.0.0"), "Without API keys"),
        (("serve", "--port", "70000"), "CARTRIDGES_PORT"),
        (("ingest", str(tmp_path / "nothing.md")), "There is no file"),
        (("ask", "Who?", "--url", "http://127.0.0.1:9"), "does not answer"),
        (("ask", "Who?", "--url", "http://127.0.0.1:port"), "cannot be used"),
        (
            ("report", "x", "--dataset", "world", "--out", str(tmp_path / "no" / "r.md")),
            "no folder",
        ),
    ):
        code, err = failing(monkeypatch, capsys, *arguments)
        assert (code, err.count("\n")) == (1, 1), err
        assert words in err
    assert failing(monkeypatch, capsys, "ask")[0] == 2
    with monkeypatch.context() as wrong:
        (tmp_path / "file").write_text("no folder")
        wrong.setenv("CARTRIDGES_DATA", str(tmp_path / "file" / "data"))
        code, err = failing(wrong, capsys, "keys", "list")
        assert (code, err.count("\n")) == (1, 1), err
        assert f"{tmp_path / 'file'}" in err
    monkeypatch.setattr("app.parts.load_reader", lambda *_, **__: FakeReader())
    for recipe, words in (
        ('{"max_step": 100}', "there is no 'max_step'"),
        ('{"max_steps": 20.0}', "max_steps is a int"),
        ('{"accept_at": NaN}', "accept_at is a float"),
        ("{max_steps", "write it as JSON"),
    ):
        with monkeypatch.context() as wrong:
            wrong.setenv("CARTRIDGES_TRAINING", recipe)
            code, err = failing(wrong, capsys, "serve", "--port", "0")
            assert (code, err.count("\n")) == (1, 1), err
            assert words in err
    monkeypatch.setenv("CARTRIDGES_REDIS_URL", "unix:///nowhere/redis.sock")
    monkeypatch.setattr("app.parts.load_reader", lambda *_, **__: FakeReader())
    code, err = failing(monkeypatch, capsys, "serve", "--port", "0")
    assert (code, err.count("\n")) == (1, 1), err
    assert "Redis" in err


def test_a_problem_of_the_service_is_the_commands_sentence(run: Any) -> None:
    result = CliRunner().invoke(cli, ["ask", "x" * 9000])
    assert result.exit_code == 1
    assert "at most 8000" in str(result.exception)


def test_the_address_of_a_service_that_is_gone_is_not_believed(tmp_path: Path) -> None:
    assert running_service(tmp_path) is None
    for record in ("", "{}", "[]", '{"url": "http://x", "pid": 4194305}', '{"url": 1, "pid": 1}'):
        (tmp_path / "service.json").write_text(record)
        assert running_service(tmp_path) is None


def test_without_keys_only_this_machine_is_served(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, host="0.0.0.0", port=0)
    with pytest.raises(ServiceError, match="API keys"), Service(settings):
        pass
    assert not settings.is_loopback
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        assert Settings(host=host).is_loopback


def test_doctor_finds_what_is_wrong_and_rebuilds_it(run: Any, service: Service) -> None:
    findings = {each.name: each for each in examine(service.settings, make_parts())}
    assert all(each.ok for each in findings.values()), findings
    (service.settings.data / "cartridges" / f"c{'0' * 40}.safetensors").write_bytes(b"rubbish")
    findings = {each.name: each for each in examine(service.settings, make_parts(), rebuild=True)}
    assert not findings["cartridges"].ok
    assert findings["registry"].ok
    assert findings["index of default"].detail.startswith("0 added, 0 removed")
    # Jobs are not the registry's, so they are still there.
    document = httpx.get(f"{service.url}/v1/documents?limit=1").json()["documents"][0]
    assert httpx.get(f"{service.url}/v1/jobs/{document['job']}").status_code == 200


def _children(parent: int, named: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent and named in command:
                found.append(int(entry.name))
    return found
