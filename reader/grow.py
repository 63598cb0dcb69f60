"""Grow a trained reader by one key/value head and some width, and write there how to find a sentence.

To quote the sentence that answers a question, its first word has to be found by the words behind it.
Trained readers of this size pick that up slowly (docs/log.md), though it takes four heads:

    layer 0   was the token before a boundary? which word is this?
    layer 1   with which token does my sentence start? whose turn is it?
    layer 2   which words of the documents are this word? take the starts of their sentences
    layer 3   where an answer begins: what did the words of the question find?

A rare word finds few sentences and votes for each of them loudly, a common one finds many: the sum is
a retrieval by inverse document frequency. The new head and width are written so that the reader does
what it did before but for a small nudge towards the sentence found; every weight stays trainable and the
architecture a stock Qwen3. Linear read-outs are fitted by ridge regression to activations of samples.
This file knows no curriculum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from reader.initialise import pairs, rotary_frequencies, rotate
from reader.lexicon import FUNCTION_WORDS
from reader.readouts import discriminants, ridge
from reader.tokenizer import BOS, ROLES, SPECIAL

NUDGE = 0.2  # length of what is found beside the residual stream's
_OPENERS = frozenset(  # what questions begin with; no sentence is looked for by them
    "what which how who where when why whom could please can tell do did does was is i may say it "
    "would and so".split()
)


@dataclass(frozen=True, slots=True)
class Notes:
    """Places in the new width, counted from its first dimension."""

    start: slice  # the token that the sentence starts with
    turn: slice  # whose turn it is: system, user, assistant
    boundary: int  # whether the token before was a boundary
    word: slice  # which word it is
    width: int  # all of them, and some free ones

    @classmethod
    def of(cls, dim: int) -> "Notes":
        """Notes that heads of `dim` can carry: 90 of 96 dimensions for heads of 64."""
        start, word = dim - 6, dim // 2 - 4
        return cls(
            slice(0, start),
            slice(start, start + 3),
            start + 3,
            slice(start + 4, start + 4 + word),
            dim + dim // 2,
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids and their positions, both int64 `[batch, length]`."""

    ids: Tensor
    positions: Tensor


@torch.no_grad()
def grown(model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    """The same function with room for the notes and one more key/value head with its queries."""
    config: Any = model.config
    old, new = config.hidden_size, config.hidden_size + Notes.of(config.head_dim).width
    group = config.num_attention_heads // (config.num_key_value_heads or config.num_attention_heads)
    larger = Qwen3Config.from_dict(
        {
            **config.to_dict(),
            "hidden_size": new,
            "num_attention_heads": config.num_attention_heads + group,
            "num_key_value_heads": config.num_attention_heads // group + 1,
        }
    )
    result: Any = Qwen3ForCausalLM(larger)
    before = model.state_dict()
    shrunk = math.sqrt(old / new)  # the root mean square of a vector with zeros appended
    for name, parameter in result.named_parameters():
        values = before[name]
        parameter.zero_()
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            parameter.copy_(values)
        elif "norm" in name:
            parameter.fill_(float(values.mean()) * shrunk)
            parameter[:old] = values * shrunk
        else:
            parameter[tuple(slice(0, size) for size in values.shape)] = values
    finished: Qwen3ForCausalLM = result.eval()
    return finished


class Writer:
    """Writes the circuit into the last head of a grown model, layer by layer."""

    def __init__(
        self,
        model: Qwen3ForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        samples: Sequence[Sample],
        nudge: float,
    ) -> None:
        config: Any = model.config
        self.nudge = nudge
        self.model: Any = model
        self.samples = samples
        self.dim: int = config.head_dim
        self.notes = Notes.of(config.head_dim)
        self.base = (
            config.hidden_size - self.notes.width
        )  # notes stand behind what was there before
        heads = config.num_key_value_heads or config.num_attention_heads
        self.key = self._rows(heads - 1)
        self.first, self.second = self._rows(2 * heads - 2), self._rows(2 * heads - 1)
        self.frequencies = rotary_frequencies(config)
        self.ids = torch.cat([sample.ids.flatten() for sample in samples])
        names = tokenizer.convert_ids_to_tokens(list(range(config.vocab_size)))
        plain = [name.replace("Ġ", "").lower() for name in names]
        self.turns = [names.index(role) for role in ROLES]  # system, user, assistant
        self.bos = names.index(BOS)
        self.boundary = torch.tensor(
            [float(n in {".", "?", "!", "Ġ-", ROLES[0]} or "Ċ" in n) for n in names]
        )
        self.common = torch.tensor(
            [
                float(n in SPECIAL or p in FUNCTION_WORDS or (len(p) < 2 and not p.isalnum()))
                for n, p in zip(names, plain, strict=True)
            ]
        )
        self.mute = torch.tensor(
            [float(n in SPECIAL or p in _OPENERS) for n, p in zip(names, plain, strict=True)]
        )
        spellings = {text: index for index, text in enumerate(sorted(set(plain)))}
        self.spelling = torch.tensor([spellings[text] for text in plain])
        self.loudness = self._loudness()

    def _rows(self, head: int) -> slice:
        return slice(head * self.dim, (head + 1) * self.dim)

    def _note(self, part: slice) -> slice:
        return slice(self.base + part.start, self.base + part.stop)

    def _attention(self, layer: int) -> Any:
        return self.model.model.layers[layer].self_attn

    def _run(self, sample: Sample) -> None:
        self.model.model(
            sample.ids,
            position_ids=sample.positions,
            attention_mask=torch.ones_like(sample.ids),
            use_cache=False,
        )

    def _loudness(self) -> list[float]:
        """Root mean square of the residual stream at the entrance of each layer."""
        found: list[float] = []
        hooks = [
            layer.register_forward_pre_hook(
                lambda _, given: found.append(float(given[0].detach().pow(2).mean().sqrt()))
            )
            for layer in self.model.model.layers
        ]
        self._run(self.samples[0])
        for hook in hooks:
            hook.remove()
        return found

    def inputs(self, layer: int) -> Tensor:
        """What the attention of a layer reads at every token of the samples; `[tokens, width]`."""
        found: list[Tensor] = []
        norm = self.model.model.layers[layer].input_layernorm
        hook = norm.register_forward_hook(lambda _, __, out: found.append(out.flatten(0, 1)))
        for sample in self.samples:
            self._run(sample)
        hook.remove()
        return torch.cat(found)

    def write(self) -> None:
        """Layer by layer: each reads what the one before has written."""
        self._boundaries_and_words()
        self._starts_and_turns()
        self._matches()
        self._votes()
        self._others()

    def _boundaries_and_words(self) -> None:
        attention, frequencies = self._attention(0), self.frequencies
        here = {i: math.sqrt(a) for i, a in enumerate((4, 3, 2, 1, 1, 1, 0.5, 0.5))}
        near = pairs(self.dim, here)
        read, offset = ridge(
            self.inputs(0), self.boundary[self.ids, None], 1 + 2 * self.boundary[self.ids]
        )
        words, centre = self._words()
        size = len(words)
        attention.k_proj.bias[self.key] = rotate(near, frequencies)
        attention.q_proj.bias[self.first] = near  # the token before
        attention.q_proj.bias[self.second] = rotate(near, frequencies)  # the token itself
        attention.v_proj.weight[self.key][: 1 + size] = torch.cat([read, words])
        attention.v_proj.bias[self.key][: 1 + size] = torch.cat([offset, centre])
        loud = self.loudness[1]
        attention.o_proj.weight[self.base + self.notes.boundary, self.first][0] = 3 * loud
        for place in range(size):
            row = self.base + self.notes.word.start + place
            attention.o_proj.weight[row, self.second][1 + place] = loud

    def _words(self) -> tuple[Tensor, Tensor]:
        """What tells words apart and their spellings not, read from embeddings; weight and bias."""
        used = (self.common == 0).nonzero().flatten()
        norm = self.model.model.layers[0].input_layernorm
        counts = torch.bincount(self.ids, minlength=len(self.common))[used]
        word = self.notes.word
        return discriminants(
            norm(self.model.model.embed_tokens.weight)[used],
            self.spelling[used],
            (counts + 3).double().sqrt(),
            word.stop - word.start,
        )

    def _starts_and_turns(self) -> None:
        attention, seen = self._attention(1), self.inputs(1)
        is_turn = torch.isin(self.ids, torch.tensor(self.turns)).float()
        weights = 1 + 19 * is_turn
        turns = torch.stack([(self.ids == turn).float() for turn in self.turns], dim=1)
        wanted = torch.cat([self.codes()[self.ids], 3 * turns], dim=1)
        read, offset = ridge(seen, wanted, weights, damping=1e-3)
        attention.v_proj.weight[self.key][: wanted.shape[1]] = read
        attention.v_proj.bias[self.key][: wanted.shape[1]] = offset
        turn, turn_offset = ridge(seen, is_turn[:, None], weights)
        after = self._after_boundary()
        flag = 1 / seen[after, self.base + self.notes.boundary].mean()
        recent = self._recent(0.013, 0.28)
        starts, begins, idle = (pairs(self.dim, {i: 1.0}) for i in self._slow(3))
        # A key says: I follow a boundary; I open a turn; and how far away I am. Both queries take the
        # nearest that says what they want; the idle part keeps the silent ones from being normalised up.
        key = attention.k_proj
        key.weight[self.key] = torch.outer(1.4 * begins + starts, turn[0])
        key.weight[self.key, self.base + self.notes.boundary] += 1.3 * flag * starts
        key.bias[self.key] = (
            0.6 * recent
            + 0.4 * idle
            + 1.4 * (turn_offset - 0.3) * begins
            + (turn_offset - 0.25) * starts
        )
        attention.q_proj.bias[self.first] = 0.8 * starts + 0.6 * recent
        attention.q_proj.bias[self.second] = 0.8 * begins + 0.6 * recent
        loud = self.loudness[2]
        for place in range(self.notes.start.stop):
            attention.o_proj.weight[self.base + place, self.first][place] = 1.5 * loud
        for place in range(self.notes.turn.start, self.notes.turn.stop):
            attention.o_proj.weight[self.base + place, self.second][place] = loud

    def _recent(self, slowest: float, fastest: float) -> Tensor:
        """Of unit length, on the pairs that turn by so many radians a token: largest for near tokens."""
        turning = (self.frequencies >= slowest) & (self.frequencies <= fastest)
        vector = torch.cat([turning, torch.zeros_like(turning)]).float()
        unit: Tensor = vector / vector.norm()
        return unit

    def _slow(self, count: int) -> range:
        """The slowest rotary pairs, which hardly turn at any distance."""
        half = self.dim // 2
        return range(half - 1, half - 1 - count, -1)

    def _after_boundary(self) -> Tensor:
        """Whether each token of the samples follows a boundary; bool `[tokens]`."""
        flags = [self.boundary[sample.ids] > 0 for sample in self.samples]
        moved = [torch.roll(flag, 1, dims=1) for flag in flags]
        for flag in moved:
            flag[:, 0] = False
        return torch.cat([flag.flatten() for flag in moved])

    def codes(self) -> Tensor:
        """A token as it stands in a note: principal components of the embeddings; zero if mute."""
        vectors: Tensor = self.model.model.embed_tokens.weight[:, : self.base]
        code: Tensor = (vectors - vectors.mean(0)) @ self._axes()[0].T
        code = code * (1 - self.mute)[:, None]
        scaled: Tensor = code / code[self.mute == 0].pow(2).mean().sqrt()
        return scaled

    def _axes(self) -> tuple[Tensor, Tensor]:
        vectors = self.model.model.embed_tokens.weight[:, : self.base]
        _, spread, axes = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
        return axes[: self.notes.start.stop], spread[: self.notes.start.stop]

    def _turn_of(self) -> Tensor:
        """The role token that each token of the samples was said under; int64 `[tokens]`."""
        found: list[Tensor] = []
        for sample in self.samples:
            opens = torch.isin(sample.ids, torch.tensor(self.turns))
            places = torch.where(opens, torch.arange(sample.ids.shape[1]), 0).cummax(1).values
            found.append(sample.ids.gather(1, places).flatten())
        return torch.cat(found)

    def _matches(self) -> None:
        attention, seen = self._attention(2), self.inputs(2)
        told = self._turn_of() == self.turns[0]
        noted = seen[:, self._note(self.notes.word)]
        size = self.notes.word.stop - self.notes.word.start
        scale = 1 / (noted[self.common[self.ids] == 0].pow(2).mean() * size).sqrt()
        half = self.dim // 2
        # Pairs that documents far away from their question do not turn.
        still = [*range(half - size // 2, half), *range(2 * half - size // 2, 2 * half)]
        document = half // 2 + 1
        columns = torch.arange(size) + self.base + self.notes.word.start
        key, query = attention.k_proj, attention.q_proj
        key.weight[self.key][still, columns] = scale
        query.weight[self.first][still, columns] = scale
        turn = self.base + self.notes.turn.start
        key.weight[self.key][document, turn] = 1 / seen[told, turn].mean()
        key.bias[self.key][document] = -0.5
        query.bias[self.first][document] = 0.6
        starts = seen[told][:, self._note(self.notes.start)]
        loud = 1 / starts.pow(2).mean().sqrt()
        places = torch.arange(self.notes.start.stop)
        attention.v_proj.weight[self.key][places, places + self.base] = loud
        attention.v_proj.bias[self.key][places] = -loud * starts.mean(0)
        for place in range(self.notes.start.stop):
            attention.o_proj.weight[self.base + place, self.first][place] = 3 * self.loudness[3]

    def _votes(self) -> None:
        attention, seen = self._attention(3), self.inputs(3)
        asked = self._turn_of() == self.turns[1]
        begins = (self.ids == self.turns[2]).float()
        opens = (self.ids == self.bos).float()
        begin, begin_offset = ridge(seen, begins[:, None], 1 + 19 * begins)
        open_, open_offset = ridge(seen, opens[:, None], 1 + 49 * opens)
        rare, rare_offset = ridge(seen, 1 - self.common[self.ids, None], torch.ones(len(seen)))
        recent = self._recent(0.008, 0.032)
        user, idle, word = (pairs(self.dim, {i: 1.0}) for i in self._slow(3))
        turn = self.base + self.notes.turn.start + 1
        key, query = attention.k_proj, attention.q_proj
        # Where no answer begins, the head looks at the first token of all, which found nothing.
        key.weight[self.key] = torch.outer(2 * idle, open_[0]) + torch.outer(0.6 * word, rare[0])
        key.weight[self.key, turn] += 0.8 / seen[asked, turn].mean() * user
        key.bias[self.key] = 0.4 * recent + open_offset * idle + 0.6 * rare_offset * word
        query.weight[self.first] = torch.outer(1.5 * (user + word) + 1.5 * recent, begin[0])
        query.bias[self.first] = idle + 1.5 * begin_offset * (user + word + recent)
        places = torch.arange(self.notes.start.stop)
        loud = 1 / seen[asked][:, self._note(self.notes.start)].pow(2).mean().sqrt()
        attention.v_proj.weight[self.key][places, places + self.base] = loud
        axes, spread = self._axes()
        back = axes.T * (spread.mean() / spread).sqrt()
        attention.o_proj.weight[: self.base, self.first][:, places] = (
            self.nudge * self.loudness[-1] * back
        )

    def _others(self) -> None:
        """A head that says nothing yet, in the layers behind: of zeros alone it could not learn."""
        generator = torch.Generator().manual_seed(0)
        for layer in range(4, len(self.model.model.layers)):
            attention = self._attention(layer)
            for part, rows in (
                (attention.q_proj, slice(self.first.start, self.second.stop)),
                (attention.k_proj, self.key),
                (attention.v_proj, self.key),
            ):
                shape = part.weight[rows].shape
                drawn = torch.randn(shape, generator=generator)
                part.weight[rows] = drawn * self.model.config.initializer_range


@torch.no_grad()
def write_quoting_circuit(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    samples: Sequence[Sample],
    nudge: float = NUDGE,
) -> None:
    """Write the circuit into the last head of a grown model, in place.

    `samples` are conversations about documents, some tens of thousands of tokens; `nudge` is how loud the
    sentence found is beside the residual stream. Raises ValueError
    for a model of fewer than four layers or with other than two queries a key/value head.
    """
    config: Any = model.config
    if config.num_hidden_layers < 4 or config.num_attention_heads != 2 * config.num_key_value_heads:
        raise ValueError("the quoting circuit needs four layers and two queries a key/value head")
    Writer(model, tokenizer, samples, nudge).write()
