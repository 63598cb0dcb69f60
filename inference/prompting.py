"""Prompting: what a request comes to, its cartridges and the ids of texts and question behind them.

It knows no batch, no pool and no stream: whoever decodes, here or elsewhere, begins with this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.composer import Arrangement, arrange
from inference.reader import Reader
from inference.requests import Request, RequestRefused

_CHARACTERS = 16
"""Of a token, as a rule, at most."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """What a request comes to: its cartridges, and the ids that stand behind them."""

    arranged: Arrangement
    ids: list[int]

    @property
    def shared(self) -> list[tuple[str, int]]:
        """Names and columns of what it shares with others."""
        return [(cartridge.id, cartridge.slots) for cartridge in self.arranged.cartridges]


def build_prompt(reader: Reader, request: Request) -> Prompted:
    """The cartridges of a request, and the ids of texts and question behind them.

    Raises RequestRefused when it does not fit the reader, and what `arrange` raises.
    """
    arranged = arrange(reader, request.cartridges)
    chat = reader.chat
    if request.texts:
        _require_readable(reader, request.texts)
        ids = [*chat.documents(request.texts), *chat.question(request.question)]
    elif request.cartridges:
        ids = chat.question(request.question)
    else:
        ids = chat.bare_question(request.question)
    needed = arranged.question_at + len(ids) + request.sampling.max_tokens
    if needed > reader.max_positions:
        raise RequestRefused(
            f"The prompt needs {needed} positions but the reader has {reader.max_positions}: ask a "
            "shorter question, name fewer documents, or use their cartridges."
        )
    return Prompted(arranged, ids)


def _require_readable(reader: Reader, texts: Sequence[str]) -> None:
    """Raise RequestRefused for what is too long by far, before all of it is tokenised."""
    most = reader.max_positions
    if sum(map(len, texts)) <= _CHARACTERS * most:
        return
    start = "\n\n".join(text[: _CHARACTERS * most] for text in texts)[: _CHARACTERS * most]
    if reader.count(start) > most:
        raise RequestRefused(
            f"The texts have more tokens than the reader's {most} positions: name fewer documents, or use "
            "their cartridges."
        )
