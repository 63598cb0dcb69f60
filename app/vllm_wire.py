"""What is sent to vLLM's completions route, and its streamed answer as token ids.

Token ids go both ways, so that nothing is tokenised twice. This file knows vLLM's JSON; it knows no
reader, no thread and no cartridge.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from inference.sampling import Sampling, Top

_TOKEN = "token_id:"  # noqa: S105


class RefusedByServer(RuntimeError):
    """The server says that the request is not right."""


class NotServed(RuntimeError):
    """The server does not serve us, or not now, whatever is asked; `status` says why."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class ServerFailed(RuntimeError):
    """The server could not answer this request."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some tokens of an answer, with the likeliest ones of each where they were asked for.

    `finish` is the server's word for why these are the last, None where more are to come.
    """

    ids: list[int]
    tops: list[Top]
    finish: str | None = None


def body_of(
    model: str, ids: Sequence[int], cartridges: Sequence[str], sampling: Sampling
) -> dict[str, Any]:
    """The JSON of a request; `ids` stand behind the cartridges, or are the whole prompt without any.

    Stop strings are not sent: what an answer says is decided where its tokens are read.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(ids),
        "stream": True,
        "return_token_ids": True,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        # Whatever the server's defaults are, an answer is drawn as the local engine draws it.
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": sampling.seed,
        "ignore_eos": sampling.ignore_end,
    }
    if cartridges:
        body["cartridges"] = list(cartridges)
    if sampling.logprobs or sampling.sure_at is not None:
        body |= {"logprobs": max(1, sampling.logprobs), "return_tokens_as_token_ids": True}
    return body


async def pieces(answer: httpx.Response) -> AsyncGenerator[Piece]:
    """The tokens of a streamed answer as they come.

    Raises RefusedByServer, NotServed and ServerFailed.
    """
    if answer.status_code != 200:
        await answer.aread()
        raise _error(answer.status_code, answer.text)
    async for line in _lines(answer):
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        try:
            found = _pieces(data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ServerFailed(
                f"The vLLM server sent what is no part of an answer: {data[:200]}"
            ) from error
        for piece in found:
            yield piece


async def _lines(answer: httpx.Response) -> AsyncGenerator[str]:
    """What stands between line feeds: httpx ends lines at U+2028 as well, which JSON may hold."""
    rest = ""
    async for text in answer.aiter_text():
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line.removesuffix("\r")
    if rest:
        yield rest


def _pieces(data: str) -> list[Piece]:
    """What one event says. Raises what the server says went wrong."""
    event = json.loads(data)
    if "error" in event:
        raise _error(int(event["error"].get("code") or 500), data)
    return [
        Piece(
            list(choice.get("token_ids") or ()),
            _tops(choice.get("logprobs")),
            choice.get("finish_reason"),
        )
        for choice in event["choices"]
    ]


def _tops(logprobs: dict[str, Any] | None) -> list[Top]:
    found = []
    for listed in (logprobs or {}).get("top_logprobs") or ():
        best = sorted(listed.items(), key=lambda pair: -pair[1])
        ids = [int(name.removeprefix(_TOKEN)) for name, _ in best]
        found.append(
            Top(np.array(ids, np.int32), np.array([value for _, value in best], np.float32))
        )
    return found


def _error(status: int, text: str) -> Exception:
    try:
        words = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        words = text[:200] or f"status {status}"
    if status in (400, 422):
        return RefusedByServer(words)
    if status in (401, 403, 404, 429, 503):  # nothing that the asker could ask otherwise
        return NotServed(status, words)
    return ServerFailed(f"The vLLM server could not answer: {words}")
