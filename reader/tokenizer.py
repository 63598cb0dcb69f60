"""The bundled reader's tokenizer: byte-level BPE in which a word looks the same at a line's start.

A space is put before the first word of every line and taken away again when decoding, so that a name
has one spelling in tokens wherever it stands: copying needs no second form of every word. Digits are
single tokens. Roles of the chat format are special tokens. This file knows no model.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

BOS, END = "<|bos|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL = (BOS, END, *ROLES)

CHAT_TEMPLATE = (
    "<|bos|>{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer with `vocabulary` tokens, learned from `texts`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(r"\n(?=\S)"), "\n "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteLevel(),
            decoders.Replace("\n ", "\n"),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        cartridge_instructions="",  # it was never told any
    )


def dictionary(path: Path, limit: int = 12_000) -> list[str]:
    """English words, most frequent first, from a WordPiece vocabulary file (whole words only)."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = (w for w in lines if w.isascii() and w.isalpha() and w.islower() and 3 <= len(w) <= 12)
    return [word for word, _ in zip(words, range(limit), strict=False)]


def corpus(examples: Iterable[str], words: Iterable[str]) -> Iterator[str]:
    """What the tokenizer is learned from: examples, and the dictionary so that plain words stay whole."""
    yield from examples
    for word in words:
        yield f"{word} {word} {word}"
