"""Whether a server decodes with the reader: their log-probabilities of one text, side by side.

A server may serve another model under the same name, or drop weights that its own class of the model
does not know; both answer fluently and wrongly. This file knows a reader and vLLM's JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from inference.reader import Reader

_TEXT = "The north gate was painted by the steward in spring, and the boiler was serviced in May."
_QUESTION = "Who painted the north gate, and when was the boiler serviced?"
# In nats on average. Rounding to bfloat16 on one side or both stays far below, a lost bias far above.
_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt, and the reader's log-probability of each of its tokens but the first."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, reader: Reader) -> "Probe":
        """Let the reader read."""
        chat = reader.chat
        ids = [chat.sink_id, *chat.documents([_TEXT]), *chat.question(_QUESTION)]
        tokens = torch.tensor([ids], device=reader.device)
        hidden = reader.model.base_model(tokens, use_cache=False).last_hidden_state
        found = reader.logits(hidden[0, :-1]).log_softmax(-1).cpu()
        return cls(
            tuple(ids), tuple(float(row[id]) for row, id in zip(found, ids[1:], strict=True))
        )

    def body(self, model: str) -> dict[str, Any]:
        """The request for vLLM's completions route."""
        return {
            "model": model,
            "prompt": list(self.ids),
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
        }

    def apart(self, answer: Mapping[str, Any]) -> float:
        """Mean absolute difference in nats; infinite for an answer of another form."""
        try:
            listed: Sequence[Mapping[str, Any]] = answer["choices"][0]["prompt_logprobs"][1:]
            theirs = [
                float(row[str(id)]["logprob"]) for row, id in zip(listed, self.ids[1:], strict=True)
            ]
        except (KeyError, IndexError, TypeError, ValueError):
            return float("inf")
        pairs = zip(theirs, self.logprobs, strict=True)
        return sum(abs(one - two) for one, two in pairs) / len(theirs)

    def agrees(self, apart: float) -> bool:
        """Whether a server that is so far off is the reader."""
        return apart <= _TOLERANCE
