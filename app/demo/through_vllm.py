"""The demonstration's collection in stock vLLM: the same questions, by OpenAI's own client.

A server mounts the cartridges that the service trained; each question is asked behind the documents that
retrieval found for it, and behind the whole collection. Knows an address and answers; knows no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI

from benchmarks.vllm_process import MODEL, serving_vllm
from inference.reader import multiplies_bfloat16

_MOST_TOKENS = 96


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the documents whose cartridges are mounted before it."""

    question: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mounted:
    """vLLM's answers to a question behind the documents named, and behind the whole collection."""

    named: str
    whole: str


def ask_vllm(url: str, asked: Sequence[Asked], collection: str = "default") -> list[Mounted]:
    """Ask a running server, greedily. Raises what OpenAI's client raises."""
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:

        def answered(question: str, mounted: dict[str, Any]) -> str:
            reply = client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": question}],
                temperature=0.0,
                max_tokens=_MOST_TOKENS,
                extra_body={"collection": collection} | mounted,
            )
            return (reply.choices[0].message.content or "").strip()

        return [
            Mounted(
                answered(each.question, {"cartridges": [*each.documents]}),
                answered(each.question, {}),
            )
            for each in asked
        ]


def serve_and_ask(
    model: Path, cartridges: Path, work: Path, asked: Sequence[Asked]
) -> list[Mounted]:
    """Start a server over the folder of cartridges and ask it; raises VllmMissing, RuntimeError."""
    dtype = "bfloat16" if multiplies_bfloat16() else "float32"
    with serving_vllm(model, cartridges, work, dtype=dtype) as url:
        return ask_vllm(url, asked)
