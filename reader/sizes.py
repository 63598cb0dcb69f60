"""The reader's three sizes: `nano` for tests, `small` the default, `base` for a GPU.

All are stock Qwen3 with the biases that the initial circuit needs. This file knows numbers alone.
"""

from dataclasses import dataclass

from transformers import Qwen3Config

VOCABULARY = 4096


@dataclass(frozen=True, slots=True)
class Size:
    """Layers, width of the residual, key/value heads (two query heads each), width of the MLP."""

    layers: int
    width: int
    heads: int
    head_dim: int
    inner: int

    def config(self) -> Qwen3Config:
        """The model's configuration."""
        return Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=2 * self.heads,
            num_key_value_heads=self.heads,
            head_dim=self.head_dim,
            intermediate_size=self.inner,
            max_position_embeddings=16_384,
            tie_word_embeddings=True,
            attention_bias=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )


SIZES: dict[str, Size] = {
    "nano": Size(layers=4, width=128, heads=3, head_dim=32, inner=256),
    "small": Size(layers=5, width=256, heads=3, head_dim=64, inner=512),
    "base": Size(layers=8, width=512, heads=6, head_dim=64, inner=1_024),
}
