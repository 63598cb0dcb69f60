"""OpenAI requests that name cartridges become ones that stock vLLM understands.

`cartridges: [...]`, with document ids `collection` too, becomes placeholders before the question's ids
and `kv_transfer_params`; null stands for a field that is left out. This file knows request bodies and
token ids; it knows no HTTP and no tensors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference.chat import ChatFormat
from inference.vllm.errors import MountRefused
from inference.vllm.mounting import Composition

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"

Resolve = Callable[[Sequence[str] | None, str | None], Composition]
"""The composition of named cartridges or documents, and of a collection."""

_NAMES = ("cartridges", "collection")
# They would read the placeholders as text, or change the prompt behind our back.
_REFUSED = (
    "echo",
    "prompt_logprobs",
    "prompt_logprob_token_ids",
    "use_beam_search",
    "truncate_prompt_tokens",
    "prompt_embeds",
    "suffix",
    "tools",
    "documents",
    "chat_template",
    "continue_final_message",
)


def names_cartridges(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for cartridges in any way, or has our fields and must lose them."""
    params = body.get("kv_transfer_params")
    direct = isinstance(params, Mapping) and "cartridges" in params
    return direct or any(name in body for name in _NAMES)


def asks_for_cartridges(body: Mapping[str, Any]) -> bool:
    """Whether our fields say something; null says nothing."""
    return any(body.get(name) is not None for name in _NAMES)


def rewritten(
    path: str, body: Mapping[str, Any], chat: ChatFormat, resolve: Resolve
) -> dict[str, Any]:
    """The body for vLLM of a request that names cartridges, or says that it names none.

    Raises MountRefused for what cannot be asked behind cartridges, and what `resolve` raises.
    """
    given = asks_for_cartridges(body)
    left = {name: value for name, value in body.items() if name not in _NAMES}
    direct = body.get("kv_transfer_params")
    if not given and not (isinstance(direct, Mapping) and "cartridges" in direct):
        return left
    for name in _REFUSED:
        # 0 asks for something, too: log-probabilities of the prompt's own tokens.
        if body.get(name) is not False and body.get(name) not in (None, "", [], {}):
            raise MountRefused(f"'{name}' cannot be used behind cartridges; leave it out.")
    if direct:
        if given:
            raise MountRefused("Name cartridges in one way: leave kv_transfer_params out.")
        return left  # whoever builds the prompt for himself; the connector checks it
    composition = resolve(_names(body), _collection(body))
    ids = _behind(path, body, chat)
    prompt = [chat.sink_id] * composition.columns + ids
    params: dict[str, Any] = {"cartridges": list(composition.ids)}
    if path == CHAT:
        params["prompt_token_ids"] = prompt
        return left | {"kv_transfer_params": params}
    return left | {"prompt": prompt, "kv_transfer_params": params}


def _names(body: Mapping[str, Any]) -> list[str] | None:
    names = body.get("cartridges")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise MountRefused("'cartridges' must be a list of cartridge ids or document ids.")
    return names


def _collection(body: Mapping[str, Any]) -> str | None:
    name = body.get("collection")
    if name is not None and (not isinstance(name, str) or not name):
        raise MountRefused("'collection' must be a collection's name; leave it out for 'default'.")
    return name


def _behind(path: str, body: Mapping[str, Any], chat: ChatFormat) -> list[int]:
    if path == CHAT:
        return _conversation(body.get("messages"), chat)
    prompt = body.get("prompt")
    if isinstance(prompt, str) and prompt:
        return chat.question(_sendable(prompt))
    if isinstance(prompt, list) and prompt and all(type(id) is int for id in prompt):
        return list(prompt)
    raise MountRefused(
        "Behind cartridges, 'prompt' is one question, or the token ids that follow the cartridges."
    )


def _conversation(messages: object, chat: ChatFormat) -> list[int]:
    if not isinstance(messages, list) or not messages:
        raise MountRefused("'messages' must hold the question.")
    turns: list[tuple[str, str]] = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise MountRefused("Each of the 'messages' must be an object with role and content.")
        turns.append((str(message.get("role")), _text(message.get("content"))))
    if turns[0][0] in ("system", "developer"):
        raise MountRefused(
            "Cartridges stand where the system message would; put instructions into the question."
        )
    try:
        return chat.conversation(turns)
    except ValueError as error:
        raise MountRefused(str(error)) from error


def _text(content: object) -> str:
    if isinstance(content, str):
        return _sendable(content)
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            return _sendable("".join(str(part) for part in parts))
    raise MountRefused("Behind cartridges, a message's content is text.")


def _sendable(text: str) -> str:
    """The text, unless it holds half of a character, which JSON lets through and tokenizers do not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MountRefused("The question holds half of a character; send whole ones.") from error
    return text
