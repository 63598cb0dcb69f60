"""The chat format of a reader: where documents stand in a prompt, and where the question begins.

Any chat template is understood by rendering it with two markers: what stands before the documents,
between documents and question, and after the question. A cartridge takes the place of everything
before the middle part, except for the first token, which is the sink. What a reader is told about
answering stands before the question, so that no cartridge has to learn it. What others wrote becomes no
control token, whatever it spells: a document that ends its own turn would speak for the user. This file
knows token ids, but no tensors.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain, zip_longest
from typing import Any

_DOCUMENTS, _QUESTION, _TURN = "⟦documents⟧", "⟦question⟧", "⟦turn⟧"


class ChatFormat:
    """Renders prompts of one tokenizer. Raises ValueError when the template drops a message."""

    def __init__(self, tokenizer: Any, instructions: str = "") -> None:
        """`instructions` are said before every question behind documents or cartridges."""
        self._tokenizer = tokenizer
        self.instructions = instructions
        self._told = f"{instructions}\n\n" if instructions else ""
        if tokenizer.chat_template is None:
            raise ValueError(
                "The reader's tokenizer has no chat template; choose an instruct model."
            )
        try:
            full = self._render([("system", _DOCUMENTS), ("user", _QUESTION)])
            self._before, rest = full.split(_DOCUMENTS)
        except Exception:  # templates raise what they like when they know no system role
            full = self._render([("user", f"{_DOCUMENTS}\n\n{_QUESTION}")])
            self._before, rest = full.split(_DOCUMENTS)
        self._middle, self._after = rest.split(_QUESTION)
        bare = self._render([("user", _QUESTION)])
        self._bare, _ = bare.split(_QUESTION)
        # Not all models call the tokens special that their own turns are made of.
        added = tokenizer.added_tokens_decoder.values()
        shown = full + bare
        with suppress(Exception):  # templates raise what they like
            shown += self._render([("user", _TURN), ("assistant", _TURN), ("user", _TURN)])
        # A line break may be an added token, too, and stands in every template and every text.
        turned = {
            token.content
            for token in added
            if token.special or (len(token.content.strip()) > 1 and token.content in shown)
        }
        self._controls = {*tokenizer.all_special_tokens, *turned} - {""}
        ids = set(tokenizer.convert_tokens_to_ids(sorted(self._controls)))
        self._control_ids = ids - {tokenizer.unk_token_id}
        before = self._ids(self._before)
        if not before:
            raise ValueError(
                "The reader's chat template puts nothing before the documents: it has no first token to "
                "stand before cartridges."
            )
        self.sink_id: int = before[0]
        self.turn_end_id = self._found_turn_end()
        """The control token behind an answer, or None where the template puts none there."""

    def _found_turn_end(self) -> int | None:
        with suppress(Exception):  # templates raise what they like
            turns = [("user", _QUESTION), ("assistant", _TURN)]
            ids = self._rendered_ids(self._render(turns, ask=False).split(_TURN)[1])
            return ids[0] if ids and ids[0] in self._control_ids else None
        return None

    def _render(self, messages: Sequence[tuple[str, str]], *, ask: bool = True) -> str:
        rendered = self._tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            tokenize=False,
            add_generation_prompt=ask,
            enable_thinking=False,
        )
        return str(rendered)

    @cached_property
    def _unarmed(self) -> Any:
        """The tokenizer that knows no special tokens: a copy, since a tokenizer remembers which it is."""
        return copy.deepcopy(self._tokenizer)

    def _is_armed(self, text: str) -> bool:
        return any(control in text for control in self._controls)

    def ids_of(self, text: str) -> list[int]:
        """Ids of what somebody wrote, without a template; none is a control token's."""
        if not self._is_armed(text):
            return self._rendered_ids(text)
        ids = self._unarmed(text, add_special_tokens=False, split_special_tokens=True).input_ids
        if self._control_ids.isdisjoint(ids):
            return list(ids)
        # Not all are special to their tokenizer, and some are among its words. Cut inside each of them, at
        # the price of a space there that some tokenizers put before what they begin with.
        pieces = [text]
        for control in self._controls:
            pieces = [each for piece in pieces for each in _cut(piece, control)]
        ids = [id for piece in pieces for id in self._rendered_ids(piece)]
        return [id for id in ids if id not in self._control_ids]

    def _rendered_ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _ids(self, *parts: str) -> list[int]:
        """Ids of the template's parts and, in every second place, of what others wrote between them."""
        if any(map(self._is_armed, parts[1::2])):
            kinds = (self._rendered_ids, self.ids_of)
            return [id for place, part in enumerate(parts) for id in kinds[place % 2](part)]
        return self._rendered_ids("".join(parts))  # as one: tokens may reach over where parts meet

    def documents(self, texts: Sequence[str]) -> list[int]:
        """Ids of everything before the question, without the sink: what a cartridge stands for."""
        return self._ids(self._before, "\n\n".join(texts))[1:]

    def question(self, question: str) -> list[int]:
        """Ids that follow documents or cartridges: the end of their turn, then the question."""
        return self.message(self._told + question)

    def message(self, text: str) -> list[int]:
        """As `question`, of something else than a question: nothing is said before it."""
        return self._ids(self._middle, text, self._after)

    def conversation(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Ids that follow documents or cartridges, of (role, text) turns that begin with the user's.

        One turn gives what `question` gives. Raises ValueError for other turns, or where the template
        drops one.
        """
        (role, first), *rest = messages
        if role != "user" or any(name not in ("user", "assistant") for name, _ in rest):
            raise ValueError("The turns must be the user's and the assistant's, the user's first.")
        if not rest:
            return self.question(first)
        # The template's own treatment of earlier turns, such as leaving out their reasoning, is of the
        # turns as they are; of those that spell control tokens it is not.
        marked = [(name, _TURN if self._is_armed(text) else text) for name, text in rest]
        try:
            _, after = self._render([("user", _QUESTION), *marked]).split(_QUESTION)
        except Exception as error:  # templates raise what they like
            raise ValueError(f"The reader's chat template refuses these turns: {error}") from error
        between, turns = after.split(_TURN), [text for _, text in rest if self._is_armed(text)]
        if len(between) != len(turns) + 1:
            raise ValueError("The reader's chat template drops one of these turns.")
        later = chain.from_iterable(zip_longest(between, turns, fillvalue=""))
        return self._ids(self._middle, self._told + first, *later)

    def bare_question(self, question: str) -> list[int]:
        """Ids, without the sink, of a question that nothing precedes.

        Where every turn begins with a token of its own the sink is another turn's, and nothing is left out.
        """
        ids = self._ids(self._bare, question, self._after)
        return ids[1:] if ids[0] == self.sink_id else ids

    def answer(self, text: str, end_id: int) -> list[int]:
        """Ids of an answer that the reader might have given, with its end token."""
        return [*self.ids_of(text), end_id]


def _cut(text: str, control: str) -> Iterator[str]:
    """The text in pieces of which none holds the control token's text."""
    start = 0
    while (found := text.find(control, start)) >= 0:
        yield text[start : found + 1]
        start = found + 1
    yield text[start:]
