"""What an answer says, token by token: whole characters only, and nothing of a stop string.

This file knows a tokenizer and text; it knows no model.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


class Speech:
    """Turns the tokens of one answer into pieces of text whose sum is the answer."""

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        """`tokenizer` is a fast transformers tokenizer."""
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(stop)
        self._held = ""  # the end of the text, while it may be the beginning of a stop string
        self.text = ""
        self.stopped = False
        self.ids: list[int] = []

    def push(self, token: int) -> str:
        """The text that this token completes; empty after a stop string."""
        self.ids.append(token)
        backend = self._tokenizer.backend_tokenizer
        try:
            piece = self._stream.step(backend, token)
        except Exception:  # bytes that are no character after all, where tokens may be single bytes
            self._stream = DecodeStream(skip_special_tokens=True)
            piece = self._stream.step(backend, token)
        return self._say(piece or "")

    def close(self) -> str:
        """What was held back: half a character, or what was no stop string after all."""
        if self.stopped:
            return ""
        whole = str(self._tokenizer.decode(self.ids, skip_special_tokens=True))
        said = self.text + self._held
        rest = whole[len(said) :] if whole.startswith(said) else ""
        piece = self._say(rest) + self._held
        if not self.stopped:
            self.text += self._held
            self._held = ""
        return piece

    def _say(self, piece: str) -> str:
        if self.stopped:
            return ""
        text = self._held + piece
        # The one that was whole first counts, however the text came in pieces.
        found = [
            (text.find(stop) + len(stop), text.find(stop)) for stop in self._stop if stop in text
        ]
        if found:
            self.stopped = True
            said, self._held = text[: min(found)[1]], ""
        else:
            keep = max((_begun(text, stop) for stop in self._stop), default=0)
            said, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self.text += said
        return said


def _begun(text: str, stop: str) -> int:
    """How many of the text's last characters are the first ones of the stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
