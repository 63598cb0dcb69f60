"""The engine seam over a running vLLM server that mounts cartridges (`inference.vllm`).

The prompt is built here, token by token as the local engine builds it, and the answer is read here as
tokens; the server decodes. This file knows HTTP and the reader's tokenizer; it knows no store, and of
the cartridges no more than their ids.
"""

import asyncio
import contextlib
import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import httpx

from app.vllm_agreement import Probe
from app.vllm_wire import NotServed, Piece, RefusedByServer, ServerFailed, body_of, pieces
from inference.prompting import Prompted, build_prompt
from inference.reader import Reader
from inference.requests import (
    Completion,
    EngineClosed,
    EngineLoad,
    EngineUnavailable,
    Request,
    RequestRefused,
    ServerStumbled,
    Stream,
)
from inference.sampling import Top, together
from inference.speech import Speech

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05  # how often it is seen that nobody reads any more
_HEALTH_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Job:
    """A request on its way."""

    request: Request
    prompted: Prompted
    speech: Speech
    stream: Stream = field(default_factory=Stream)
    arrived: float = field(default_factory=time.perf_counter)
    token_ms: list[float] = field(default_factory=list)
    tops: list[Top] = field(default_factory=list)
    cut: bool = False
    certainty: float | None = None


class VllmEngine:
    """Requests answered by a vLLM server; the answers of the local engine, as far as numbers agree.

    The server must serve the reader's model over the same cartridges. When it is asked first, its
    log-probabilities of a fixed text are compared with the reader's own.
    """

    def __init__(
        self, reader: Reader, url: str, *, api_key: str | None = None, seconds: float = 600.0
    ) -> None:
        """`seconds` bounds how long the server may be silent within an answer. Asks nothing yet."""
        self._reader = reader
        self._url = url.rstrip("/").removesuffix("/v1")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = httpx.Timeout(seconds, connect=10.0)
        self._probe = Probe.of(reader)
        self._model: str | None = None
        self._jobs: dict[_Job, Future[None]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._asking = asyncio.Lock()
        self._client = httpx.AsyncClient(
            timeout=self._timeout, limits=httpx.Limits(max_connections=None)
        )
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="vllm-engine", daemon=True
        )
        self._thread.start()

    def submit(self, request: Request) -> Stream:
        """Send a request.

        Raises EngineClosed, RequestRefused when it can never fit, and what `arrange` raises; what the
        server says against it is raised by the stream.
        """
        job = _Job(
            request,
            build_prompt(self._reader, request),
            Speech(self._reader.tokenizer, request.sampling.stop),
        )
        with self._lock:
            if self._closed:
                raise EngineClosed("The engine is shut down; start the service again.")
            self._jobs[job] = asyncio.run_coroutine_threadsafe(self._run(job), self._loop)
        return job.stream

    def load(self) -> EngineLoad:
        """What was sent and has not come back; the pool is the server's, see its own /metrics."""
        with self._lock:
            running = sum(bool(job.token_ms) for job in self._jobs)
            waiting = len(self._jobs) - running
        return EngineLoad(waiting, 0, running, 0, 0, 0, 0, 0)

    def trouble(self) -> str | None:
        """That the server does not answer, or None."""
        if self._closed:
            return "The engine has ended; restart the service."
        asking = self._client.get(f"{self._url}/health", timeout=_HEALTH_SECONDS)
        try:
            answer = asyncio.run_coroutine_threadsafe(asking, self._loop).result(
                2 * _HEALTH_SECONDS
            )
        except (httpx.HTTPError, TimeoutError):
            return "The vLLM server does not answer; check that it runs."
        if answer.is_server_error:
            return f"The vLLM server says {answer.status_code}; see its log."
        return None

    def close(self) -> None:
        """Finish what is being said, refuse the rest."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.items())
        for job, future in jobs:
            if not job.token_ms:
                future.cancel()
        for _, future in jobs:
            try:
                future.result()
            except BaseException as error:  # it has been told to whoever reads the stream
                logger.debug("A request ended with %r", error)
        asyncio.run_coroutine_threadsafe(self._drained(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _drained(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()

    async def _run(self, job: _Job) -> None:
        ended = await self._ended(job)
        with self._lock:
            self._jobs.pop(job, None)
        job.stream.put(ended)

    async def _ended(self, job: _Job) -> Completion | Exception:
        """How a request ended."""
        try:
            await self._answer(job)
            return self._completion(job)
        except asyncio.CancelledError:
            return EngineClosed("The engine was shut down before this was answered.")
        except RefusedByServer as error:
            return RequestRefused(str(error))
        except ServerFailed as error:
            return ServerStumbled(str(error))
        except NotServed as error:
            logger.warning("vLLM at %s does not serve us: %s", self._url, error)
            self._model = None
            return self._unserved(error.status)
        except httpx.HTTPError as error:
            self._model = None  # whoever answers there next may serve another model
            return self._unavailable(error)
        except Exception as error:
            return error

    async def _answer(self, job: _Job) -> None:
        """Read the answer to its end, or until nobody reads any more."""
        reading = asyncio.ensure_future(self._read(job))
        try:
            while not reading.done() and not job.stream.cancelled.is_set():
                await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
        finally:
            if not reading.done():
                reading.cancel()  # and with the connection, the server's decoding ends
                await asyncio.wait({reading})
        if not reading.cancelled():
            reading.result()

    async def _read(self, job: _Job) -> None:
        model = await self._ready()
        sink, prompted = self._reader.chat.sink_id, job.prompted
        body = body_of(
            model,
            prompted.ids if prompted.arranged.cartridges else [sink, *prompted.ids],
            [cartridge.id for cartridge in prompted.arranged.cartridges],
            job.request.sampling,
        )
        url = f"{self._url}/v1/completions"
        asking = self._client.stream("POST", url, json=body, headers=self._headers)
        async with asking as answer, contextlib.aclosing(pieces(answer)) as said:
            finish = None
            async for piece in said:
                if self._say(job, piece):
                    return
                finish = piece.finish or finish
        # Nothing that we end an answer for came before its end.
        if finish == "length":  # of the server's own context
            job.cut = True
        elif finish != "stop":
            raise ServerFailed("The vLLM server ended its answer before its end; ask again.")

    def _say(self, job: _Job, piece: Piece) -> bool:
        """Whether that was the end."""
        sampling = job.request.sampling
        for place, token in enumerate(piece.ids):
            job.token_ms.append((time.perf_counter() - job.arrived) * 1e3)
            if sampling.sure_at is not None:
                if place >= len(piece.tops):
                    raise ServerFailed(
                        "The vLLM server sends no log-probabilities; let it send them."
                    )
                job.certainty = together(job.certainty, piece.tops[place].probability(token))
                if job.certainty < sampling.sure_at:
                    return True
            if token in self._reader.end_ids and not sampling.ignore_end:
                return True
            if sampling.logprobs:
                job.tops += piece.tops[place : place + 1]
            text = job.speech.push(token)
            if text:
                job.stream.put(text)
            job.cut = len(job.speech.ids) == sampling.max_tokens and not job.speech.stopped
            if job.speech.stopped or job.cut:
                return True
        return False

    def _completion(self, job: _Job) -> Completion:
        rest = job.speech.close()
        if rest:
            job.stream.put(rest)
        prompt, slots = len(job.prompted.ids), job.prompted.arranged.slots
        said = len(job.speech.ids)
        column = sum(keys.nbytes + values.nbytes for keys, values in self._reader.sink)
        return Completion(
            text=job.speech.text.strip(),
            prompt_tokens=prompt,
            cartridge_slots=slots,
            completion_tokens=said,
            kv_bytes=column * (1 + slots + prompt + max(0, said - 1)),
            compose_ms=0.0,
            load_ms=0.0,
            first_token_ms=job.token_ms[0] if job.token_ms else 0.0,
            total_ms=(time.perf_counter() - job.arrived) * 1e3,
            cut=job.cut,
            certainty=job.certainty,
            tops=tuple(job.tops),
            token_ms=tuple(job.token_ms),
        )

    async def _ready(self) -> str:
        """The served model's name, once it is known to be the reader."""
        async with self._asking:
            if self._model is None:
                listed = await self._client.get(f"{self._url}/v1/models", headers=self._headers)
                if listed.status_code != 200:
                    raise self._unserved(listed.status_code)
                try:
                    model = str(listed.json()["data"][0]["id"])
                except (ValueError, LookupError, TypeError) as error:
                    raise EngineUnavailable(
                        f"What answers at {self._url} is not vLLM; set CARTRIDGES_VLLM_URL to its "
                        "address."
                    ) from error
                asked = await self._client.post(
                    f"{self._url}/v1/completions",
                    json=self._probe.body(model),
                    headers=self._headers,
                )
                if asked.status_code != 200:
                    raise self._unserved(asked.status_code)
                apart = self._probe.apart(asked.json())
                if not self._probe.agrees(apart):
                    raise EngineUnavailable(
                        f"vLLM at {self._url} does not serve the reader {self._reader.name}: their "
                        f"log-probabilities of one text differ by {apart:.3f} on average. Serve that "
                        "model, and if it is that one, with --model-impl transformers."
                    )
                self._model = model
            return self._model

    def _unserved(self, status: int) -> EngineUnavailable:
        """What an answer of this status says to whoever runs the service."""
        match status:
            case 401 | 403:
                trouble = "refuses the key; set CARTRIDGES_VLLM_API_KEY to one that it takes"
            case 404:
                trouble = (
                    "does not find the cartridges or the model; service and server must see the same "
                    "cartridges, in one data folder or one CARTRIDGES_BLOBS_URL"
                )
            case 429 | 503:
                trouble = "is busy or cannot reach its store; try again in a moment"
            case _:
                return self._unavailable(f"status {status}")
        return EngineUnavailable(f"vLLM at {self._url} {trouble}.")

    def _unavailable(self, error: object) -> EngineUnavailable:
        return EngineUnavailable(f"vLLM at {self._url} does not answer ({error}); start it again.")
