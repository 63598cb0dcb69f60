"""A real vLLM server with cartridges as a process of its own, for whoever tests or measures it.

Knows where its environment is and how it starts; knows nothing of what it answers.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

_ROOT = Path(__file__).parents[1]
MODEL = "reader"
_STOP_SECONDS = 30.0


class VllmMissing(RuntimeError):
    """There is no environment with vLLM; the message says how to make it."""


def vllm_python(environment: Mapping[str, str] = os.environ, root: Path = _ROOT) -> Path:
    """The Python that has vLLM: CARTRIDGES_VLLM_PYTHON, else that of `make vllm-env`.

    Raises VllmMissing.
    """
    named = environment.get("CARTRIDGES_VLLM_PYTHON")
    found = Path(named) if named else root / ".venv-vllm" / "bin" / "python"
    # An installation that broke off has a Python and no vLLM.
    whole = found.exists() and (named or (root / ".venv-vllm" / ".installed").exists())
    if not whole:
        raise VllmMissing(
            f"There is no vLLM at {found}; make its environment with 'make vllm-env', or name a Python "
            "that has vLLM in CARTRIDGES_VLLM_PYTHON."
        )
    return found


@contextlib.contextmanager
def serving_vllm(
    model: Path,
    cartridges: Path,
    work: Path,
    *,
    dtype: str = "float32",
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    seconds: float = 300.0,
) -> Iterator[str]:
    """A server of `model` over a folder of cartridges: its address, until the block ends.

    Its log and its reader card are in the folder `work`. Raises VllmMissing, and RuntimeError with the
    end of the log when it does not start in so many seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = work / "vllm.log"
    command = [str(vllm_python()), "-m", "inference.vllm.serve", str(model)]
    command += ["--cartridges", str(cartridges), "--card", str(work / "card.safetensors")]
    command += ["--dtype", dtype, "--port", str(port), "--host", "127.0.0.1"]
    command += ["--served-model-name", MODEL, *arguments]
    settings = {
        "PYTHONPATH": str(_ROOT),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            command,
            env=os.environ | settings | dict(environment or {}),
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=work,
            start_new_session=True,  # its workers are ended with it
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}", log, seconds)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.3)
    end = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"vLLM did not start:\n{end}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
