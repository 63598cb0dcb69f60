"""The opening lesson: what a sentence began with, and a reader that grows without forgetting."""

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from reader.openings import IGNORED, OpeningLesson, grown, openings


def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=64,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            intermediate_size=48,
            attention_bias=True,
            tie_word_embeddings=True,
        )
    ).eval()


def test_openings_are_the_first_tokens_of_sentences() -> None:
    border = torch.zeros(10, dtype=torch.bool)
    border[0] = True
    ids = torch.tensor([[0, 3, 4, 0, 0, 5, 6, 7]])
    assert openings(ids, border).tolist() == [[IGNORED, 3, 3, IGNORED, IGNORED, 5, 5, 5]]
    assert openings(torch.tensor([[2, 3, 0]]), border).tolist() == [[2, 2, IGNORED]]


def test_a_grown_reader_says_what_it_said() -> None:
    old = model()
    new = grown(old, 1, scale=0.0).eval()
    ids = torch.randint(0, 64, (2, 12))
    assert new.config.num_key_value_heads == 3
    assert torch.allclose(old(ids).logits, new(ids).logits, atol=1e-5)


def test_the_lesson_is_learned_by_the_new_head_alone() -> None:
    reader = grown(model(), 1)
    border = torch.zeros(64, dtype=torch.bool)
    border[:4] = True
    lesson = OpeningLesson(reader, border)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam([*lesson.parameters(), *reader.model.layers[1].parameters()], 1e-2)
    losses = []
    for _ in range(150):
        ids = torch.randint(0, 64, (8, 24), generator=generator)
        ids[:, ::8] = 1
        reader.model(ids)
        loss, _ = lesson.loss(ids, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1.0
