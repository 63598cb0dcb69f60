"""The reader's own attention for learning: the same as sdpa's, gradients included."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cosine_similarity, scaled_dot_product_attention
from transformers import Qwen3ForCausalLM

from reader import attention
from reader.attention import CausalBlocks
from reader.batches import IGNORED, Batch
from reader.sizes import SIZES
from reader.train import learned_logits


def drawn(rows: int, heads: int, shared: int, count: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    shapes = [(rows, n, count, 16) for n in (heads * shared, heads, heads)]
    found = [torch.randn(shape, generator=generator) for shape in shapes]
    found[1] += 3.0  # what all keys have in common changes no weight
    return [t.to(dtype).requires_grad_() for t in found]


def both(query: Tensor, keys: Tensor, values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Outcome and gradients of ours and of the library's in float32."""
    q, k, v = exact = [t.detach().float().requires_grad_() for t in (query, keys, values)]
    ours = CausalBlocks.apply(query, keys, values, 0.2)  # type: ignore[no-untyped-call]
    theirs = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, scale=0.2)
    theirs = theirs.transpose(1, 2)
    slope = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    ours.backward(slope.to(ours.dtype))
    theirs.backward(slope)
    pairs = [(ours, theirs)]
    for mine, other in zip((query, keys, values), exact, strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        pairs.append((mine.grad, other.grad))
    return [(mine.detach().float(), other.detach()) for mine, other in pairs]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(1, 600))
def test_it_is_causal_attention(rows: int, heads: int, shared: int, count: int) -> None:
    for mine, other in both(*drawn(rows, heads, shared, count, torch.float32)):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_bfloat16_learns_in_the_same_direction() -> None:
    for mine, other in both(*drawn(2, 2, 2, 520, torch.bfloat16)):
        assert cosine_similarity(mine.flatten(), other.flatten(), dim=0) > 0.999


@pytest.fixture
def models() -> tuple[Qwen3ForCausalLM, Qwen3ForCausalLM]:
    torch.manual_seed(0)
    plain = Qwen3ForCausalLM(SIZES["nano"].config())
    own = copy.deepcopy(plain)
    attention.install(own)
    return plain, own


def batch() -> Batch:
    """Two rows, the second padded, its conversation behind a jump of positions."""
    ids = torch.randint(5, 4096, (2, 320), generator=torch.Generator().manual_seed(3))
    targets = torch.full_like(ids, IGNORED)
    positions = torch.arange(320).repeat(2, 1)
    ids[1, 200:] = 1
    positions[1, 150:] += 700
    targets[0, 280:300], targets[1, 160:190] = ids[0, 281:301], ids[1, 161:191]
    return Batch(ids, targets, positions, torch.zeros_like(ids, dtype=torch.bool))


def test_a_model_learns_the_same_by_it(models: tuple[Qwen3ForCausalLM, Qwen3ForCausalLM]) -> None:
    found = []
    for model in models:
        logits, _ = learned_logits(model, batch())
        logits.float().square().mean().backward()
        found.append((logits.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (plain, slopes), (own, own_slopes) = found
    torch.testing.assert_close(own, plain, rtol=1e-3, atol=1e-4)
    for name, slope in slopes.items():
        assert slope is not None
        torch.testing.assert_close(own_slopes[name], slope, rtol=1e-3, atol=1e-5)


def test_where_nothing_is_learned_it_is_the_librarys(
    models: tuple[Qwen3ForCausalLM, Qwen3ForCausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("no gradients were asked for")

    monkeypatch.setattr(CausalBlocks, "apply", refused)
    with torch.no_grad():
        logits = [learned_logits(model, batch())[0] for model in models]
    torch.testing.assert_close(logits[0], logits[1])


def test_autocast_computes_in_bfloat16(
    models: tuple[Qwen3ForCausalLM, Qwen3ForCausalLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    apply = CausalBlocks.apply

    def noted(*given: Tensor) -> Tensor:
        seen.extend(t.dtype for t in given[:3])
        found: Tensor = apply(*given)  # type: ignore[no-untyped-call]
        return found

    monkeypatch.setattr(CausalBlocks, "apply", noted)
    with torch.autocast("cpu", torch.bfloat16):
        learned_logits(models[1], batch())[0].float().sum().backward()
    assert set(seen) == {torch.bfloat16}
