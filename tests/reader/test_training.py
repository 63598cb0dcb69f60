"""The reader's training: the initial circuit copies, a batch is what it says, a run resumes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

import reader.train as recipe
from cartridge_store.folder_lock import FolderLock
from reader import attention
from reader.batches import IGNORED, draw_batch, encode
from reader.curriculum import CURRICULUM
from reader.initialise import write_lookup_circuit
from reader.paths import word_list
from reader.sizes import SIZES
from reader.tasks import Recipe, example
from reader.tokenizer import dictionary
from reader.train import Trainer, learned_logits, main


@pytest.fixture(scope="module", autouse=True)
def _short_prose() -> Iterator[None]:
    """Reading all installed documentation takes most of a minute."""
    with pytest.MonkeyPatch.context() as patch:
        found = ["Every worker closes its connection before the server stops."]
        patch.setattr(recipe, "sentences", lambda _: found)
        yield


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return Trainer(tmp_path_factory.mktemp("run"), seed=0, rate=1e-3)


@torch.no_grad()
def copied(model: Qwen3ForCausalLM, length: int) -> float:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 4096, (2, length), generator=generator).repeat(1, 2)
    logits = model(ids, use_cache=False).logits[:, length:-1]
    return float((logits.argmax(-1) == ids[:, length + 1 :]).float().mean())


def test_the_initial_circuit_copies_better_than_chance(trainer: Trainer) -> None:
    torch.manual_seed(0)
    untouched = Qwen3ForCausalLM(SIZES["small"].config())
    assert copied(untouched, 64) < 0.01
    assert copied(trainer.model, 64) > 0.3


def test_previous_token_and_induction_heads_look_where_they_should(trainer: Trainer) -> None:
    model = Qwen3ForCausalLM._from_config(SIZES["small"].config(), attn_implementation="eager")
    write_lookup_circuit(model, 0)
    ids = torch.randint(5, 4096, (1, 80), generator=torch.Generator().manual_seed(2)).repeat(1, 2)
    maps = model(ids, use_cache=False, output_attentions=True).attentions
    rows = torch.arange(100, 150)
    assert maps[0][0, 0][rows, rows - 1].mean() > 0.9
    found = maps[1][0, 0][rows, rows - 79]  # the place after the token's first occurrence
    assert found.mean() > 5 * maps[1][0, 0][rows].mean()


def test_a_model_without_room_for_the_circuit_is_refused() -> None:
    narrow = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=64,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            intermediate_size=32,
        )
    )
    with pytest.raises(ValueError, match="lookup circuit needs"):
        write_lookup_circuit(narrow, 0)


def test_the_first_stage_learns_values_only(trainer: Trainer) -> None:
    rng = Random("0/train/0")
    batch = draw_batch(
        replace(CURRICULUM[0], batch_tokens=600), trainer.tokenizer, trainer.words, rng
    )
    same = Random("0/train/0")
    recipe = same.choice(CURRICULUM[0].recipes).of_one_size(same)
    drawn = [example(same, recipe, trainer.words, "train") for _ in range(20)]
    values = [[segment.only for segment in words if segment.only] for words in drawn]
    for row in batch.targets.tolist():
        runs: list[list[int]] = []
        for before, token in zip([IGNORED, *row], row, strict=False):
            if token != IGNORED:
                if before == IGNORED:
                    runs.append([])
                runs[-1].append(token)
        assert [trainer.tokenizer.decode(run) for run in runs] in values


def test_a_batch_is_of_one_length(trainer: Trainer) -> None:
    padded = whole = 0
    for seed in range(12):
        stage = replace(CURRICULUM[-1], recipes=CURRICULUM[-1].recipes[:1], max_gap=0)
        batch = draw_batch(stage, trainer.tokenizer, trainer.words, Random(seed), pool=trainer.pool)
        used = batch.ids != 1  # of padding, which is the end of a text
        last = [int(row.nonzero()[-1]) + 1 for row in used]
        assert batch.ids.shape[1] % attention.ROUND == 0
        assert batch.ids.numel() <= stage.batch_tokens
        assert last == sorted(last)
        padded, whole = padded + batch.ids.numel() - sum(last), whole + batch.ids.numel()
    assert padded < 0.35 * whole


def test_what_begins_an_answer_is_weighed_and_what_begins_a_question_of_its_own_is_not(
    trainer: Trainer,
) -> None:
    recipe = Recipe((1, 1), (6, 6), 12, skills=0.5)
    segments = example(Random(4), recipe, trainer.words, "train")
    row = encode(segments, trainer.tokenizer)
    assert len(row.ids) == len(row.learned) == len(row.first)
    begun = [place for place, first in enumerate(row.first) if first]
    answers = [s for s in segments if s.learned and not s.special and not s.open_]
    assert len(begun) == len(answers)
    assert all(row.learned[place] and not row.learned[place - 1] for place in begun)
    asked = [s.text for s in segments if s.open_]
    assert asked
    assert all(text.endswith(("?", ".")) for text in asked)


def test_only_answers_are_learned(trainer: Trainer) -> None:
    stage = replace(CURRICULUM[1], batch_tokens=600)
    batch = draw_batch(stage, trainer.tokenizer, trainer.words, Random(1))
    row = batch.targets[0]
    learned = str(trainer.tokenizer.decode(row[row != IGNORED]))
    conversation = str(trainer.tokenizer.decode(batch.ids[0])).split("<|assistant|>")[1:]
    answers = [turn.split("<|end|>")[0].strip() for turn in conversation]
    assert [part.strip() for part in learned.split("<|end|>") if part.strip()] == answers


def test_a_gap_of_positions_does_not_cut_the_attention(trainer: Trainer) -> None:
    stage = replace(CURRICULUM[1], batch_tokens=400, max_gap=0)
    batch = draw_batch(stage, trainer.tokenizer, trainer.words, Random(2))
    moved = replace(batch, positions=batch.positions + 300 * (batch.positions > 40))
    with torch.no_grad():
        near, _ = learned_logits(trainer.model, batch)
        far, _ = learned_logits(trainer.model, moved)
        documents = batch.ids.clone()
        documents[:, 5:15] = 7
        changed, _ = learned_logits(trainer.model, replace(moved, ids=documents))
    assert not torch.equal(near, far)
    assert not torch.allclose(far, changed)  # the documents are still seen across the gap


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(CURRICULUM[0], batch_tokens=300, max_steps=3, promote_at=2.0)
    last = replace(short, name="last", grow=True)
    monkeypatch.setattr(recipe, "CURRICULUM", (short, last))
    monkeypatch.setattr(recipe, "GROWN_BY", 2)
    words = dictionary(word_list())
    assert len(words) > 5_000
    whole = Trainer(tmp_path / "whole", seed=0, rate=1e-3, size="nano")
    list(whole.run(tmp_path / "whole.jsonl"))
    for steps in (2, 4):  # before the reader is grown, and after
        folder = tmp_path / str(steps)
        first = Trainer(folder, seed=0, rate=1e-3, size="nano")
        for _ in range(min(steps, 3)):
            first._learn(short)
        if steps > 3:
            first.stage, first.stage_step = 1, 0
            first._grow(last)
            first._learn(last)
        first.save()
        second = Trainer(folder, seed=0, rate=1e-3, size="nano")
        assert (second.step, second.stage) == (steps, int(steps > 3))
        list(second.run(tmp_path / f"{steps}.jsonl"))
        for (name, a), (_, b) in zip(
            whole.model.named_parameters(), second.model.named_parameters(), strict=True
        ):
            assert torch.equal(a, b), name
    assert whole.model.config.hidden_size > SIZES["nano"].width


def test_a_published_reader_can_be_trained_further(trainer: Trainer, tmp_path: Path) -> None:
    (tmp_path / "further").mkdir()
    trainer.publish(tmp_path / "published")
    further = Trainer(tmp_path / "further", seed=1, rate=1e-3, start=tmp_path / "published")
    assert further.stage == len(CURRICULUM) - 1
    for (name, old), (_, new) in zip(
        trainer.model.named_parameters(), further.model.named_parameters(), strict=True
    ):
        assert torch.equal(old.float(), new), name
    assert further.tokenizer.get_vocab() == trainer.tokenizer.get_vocab()
    assert further.tokenizer.chat_template == trainer.tokenizer.chat_template


def test_what_a_run_left_that_came_to_no_checkpoint_is_not_taken_for_the_readers(
    trainer: Trainer, tmp_path: Path
) -> None:
    trainer.publish(tmp_path / "published")
    written = (tmp_path / "published" / "tokenizer.json").read_bytes()
    folder = tmp_path / "further"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("of another run")
    Trainer(folder, seed=1, rate=1e-3, start=tmp_path / "published")
    assert (folder / "tokenizer.json").read_bytes() == written


def test_a_run_goes_on_with_its_own_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(tmp_path, seed=3, rate=1e-3, size="nano").save()
    monkeypatch.setattr("sys.argv", ["train", "--out", str(tmp_path), "--size", "nano"])
    with pytest.raises(SystemExit, match="began with seed 3"):
        main()
    monkeypatch.setattr("sys.argv", ["train", "--out", str(tmp_path), "--steps", "0"])
    with pytest.raises(SystemExit):
        main()
    assert "--steps" in capsys.readouterr().err


def test_a_run_keeps_the_length_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(CURRICULUM[0], batch_tokens=300, max_steps=9, promote_at=2.0)
    monkeypatch.setattr(recipe, "CURRICULUM", (short,))
    first = Trainer(tmp_path, seed=0, rate=1e-3, size="nano", last_steps=3)
    first._learn(short)
    first.save()
    second = Trainer(tmp_path, seed=0, rate=1e-3, size="nano")
    list(second.run(tmp_path / "log.jsonl"))
    assert second.step == 3


def test_a_folder_is_trained_by_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FolderLock(tmp_path, "train.lock")
    lock.take(lambda: None)
    monkeypatch.setattr("sys.argv", ["train", "--out", str(tmp_path)])
    try:
        with pytest.raises(SystemExit, match="in use by process"):
            main()
    finally:
        lock.release()
