"""An auxiliary lesson: every word of a sentence should know how its sentence began.

"Emil Foss painted the gate." gives its value before the words by which a question finds it. To answer,
one head has to carry the sentence's opening to where its last words stand, and a second one has to look
it up there; neither is of use without the other, so plain training does not find the pair. This lesson
teaches the first alone: from what one head of one layer gathers, a linear map must name the first
token of the sentence. The map is thrown away afterwards. This file knows tokens, no wordings.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

IGNORED = -100
LAYER = 1  # the first layer whose tokens know what stands before them
SAMPLED = 256  # positions of a batch that are asked


def borders(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Which tokens end a sentence or stand before one (`[vocabulary]`, bool)."""
    texts = [str(tokenizer.decode([token])) for token in range(len(tokenizer))]
    special = set(tokenizer.all_special_ids)
    return torch.tensor(
        [
            token in special or "\n" in text or text.strip() in {*".!?:;#|-*•–", "##", "..."}
            for token, text in enumerate(texts)
        ]
    )


def openings(ids: Tensor, border: Tensor) -> Tensor:
    """The first token of the sentence that each token stands in, IGNORED before any sentence.

    `ids` and the result are `[batch, length]`.
    """
    at_border = border[ids]
    begins = ~at_border
    begins[:, 1:] &= at_border[:, :-1]
    places = torch.arange(ids.shape[1]).expand_as(ids)
    start = torch.where(begins, places, -1).cummax(1).values
    found = ids.gather(1, start.clamp(min=0))
    return found.masked_fill((start < 0) | at_border, IGNORED)


class OpeningLesson(nn.Module):
    """Reads the last two query heads of one layer; `loss` after each forward pass of the model."""

    def __init__(self, model: Qwen3ForCausalLM, border: Tensor) -> None:
        super().__init__()
        self._width = 2 * model.config.head_dim
        self.map = nn.Linear(self._width, model.config.hidden_size)
        self._model, self._border = [model], border  # a list: not a part of this module
        self._gathered: Tensor | None = None
        attention = model.model.layers[LAYER].self_attn
        attention.o_proj.register_forward_pre_hook(self._keep)

    def _keep(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._gathered = inputs[0][..., -self._width :]

    def loss(self, ids: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
        """Cross-entropy of the openings at sampled positions, and the share that is right."""
        targets = openings(ids, self._border)
        rows, columns = (targets != IGNORED).nonzero(as_tuple=True)
        chosen = torch.randperm(len(rows), generator=generator)[:SAMPLED]
        rows, columns = rows[chosen], columns[chosen]
        assert self._gathered is not None
        logits = self._model[0].lm_head(self.map(self._gathered[rows, columns])).float()
        wanted = targets[rows, columns]
        return cross_entropy(logits, wanted), float((logits.argmax(-1) == wanted).float().mean())


@torch.no_grad()
def grown(old: Qwen3ForCausalLM, seed: int, scale: float = 0.3) -> Qwen3ForCausalLM:
    """The same reader with one more key/value head (two query heads) in every layer.

    What it says stays as it was, but for what the new head of `LAYER` writes at `scale` times the size
    of the others' output weights; all other new heads write nothing yet.
    """
    config = Qwen3Config(**old.config.to_dict())
    config.num_key_value_heads = (config.num_key_value_heads or 0) + 1
    config.num_attention_heads += 2
    torch.manual_seed(seed)
    new = Qwen3ForCausalLM(config)
    theirs = old.state_dict()
    state = new.state_dict()
    for name, value in state.items():
        source = theirs[name]
        if source.shape == value.shape:
            value.copy_(source)
        elif name.endswith("o_proj.weight"):
            fresh = value[:, source.shape[1] :]
            layer = int(name.split(".")[2])
            fresh.normal_(0, float(source.std()) * scale if layer == LAYER else 0.0)
            value[:, : source.shape[1]] = source
        else:
            value[: source.shape[0]] = source
    new.load_state_dict(state)
    return new
