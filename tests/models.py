"""Tiny random models on disk, for tests that need a reader but no reading."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from inference.reader import Reader
from reader.tokenizer import train_tokenizer
from training.examples import StudyExample
from training.teacher import answered, read

TEXT = (
    "The boiler of the garden flat was last serviced by Franz Huber. Who serviced the boiler of the "
    "garden flat? The north gate was painted on 14 March 1962 by Mira Tolen of Kestrel House. "
)


FAMILIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "qwen3": lambda shape: Qwen3ForCausalLM(Qwen3Config(head_dim=8, **shape)),
    "llama": lambda shape: LlamaForCausalLM(LlamaConfig(**shape)),
    "mistral": lambda shape: MistralForCausalLM(MistralConfig(sliding_window=None, **shape)),
    "gemma": lambda shape: GemmaForCausalLM(GemmaConfig(head_dim=8, **shape)),
    "granite": lambda shape: GraniteForCausalLM(GraniteConfig(logits_scaling=8.0, **shape)),
    "cohere": lambda shape: CohereForCausalLM(CohereConfig(**shape)),
    "gpt_neox": lambda shape: GPTNeoXForCausalLM(
        GPTNeoXConfig(**{k: v for k, v in shape.items() if k != "num_key_value_heads"})
    ),
}


def write_tiny_model(
    folder: Path,
    kind: str = "qwen3",
    seed: int = 0,
    made: Callable[[dict[str, Any]], Any] | None = None,
) -> Path:
    """A two-layer random model of `kind`, or what `made` makes of a shape, with a tokenizer of its own;
    returns its folder."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer([TEXT] * 20, 320)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.4,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    model: Any = (made or FAMILIES[kind])(shape)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_model_from_elsewhere(folder: Path, **words: object) -> Path:
    """A tiny model whose tokenizer's configuration says nothing of instructions, but for `words`."""
    config = write_tiny_model(folder) / "tokenizer_config.json"
    kept = json.loads(config.read_text())
    del kept["cartridge_instructions"]
    config.write_text(json.dumps(kept | words))
    return folder


QUESTIONS = (
    "Who serviced the boiler of the garden flat?",
    "Who painted the north gate?",
    "When was the north gate painted?",
    "Who is Mira Tolen?",
)


def studied_questions(
    reader: Reader,
    text: str = TEXT,
    questions: Sequence[str] = QUESTIONS,
    max_tokens: int = 8,
    top_k: int = 20,
) -> list[StudyExample]:
    """A study of a text: what the reader answers to questions with it in context."""
    said = answered(
        reader, [read(reader, [text])[text]] * len(questions), questions, max_tokens, top_k
    )
    return [
        StudyExample("question", tuple(reader.chat.question(q)), a.ids, a.top_ids, a.top_logprobs)
        for q, a in zip(questions, said, strict=True)
    ]
