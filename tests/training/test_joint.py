"""Joint training on a tiny random reader: mixing, rotation, and a killed run that ends the same."""

import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cartridge_store.blobs import LocalBlobs
from cartridge_store.errors import InvalidId, StorageFull
from inference.reader import Reader, load_reader
from tests.models import TEXT, studied_questions, write_tiny_model
from training.examples import StudyExample
from training.joint import Frozen, JointSettings, JointTraining, Member
from training.mixing import Mixing
from training.pipeline import first_slots as spread
from training.pool import Pool
from training.rows import Draw, Row
from training.settings import Cancelled, TrainingRefused, TrainingSettings
from training.student import Lesson, answer_logits, answer_states, distillation_loss

_TOPS = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32)
EXAMPLE = StudyExample("question", (1,), (2,), *_TOPS)
NAMES = [f"d{number}" for number in range(6)]
MEMBERS = [Member(name, tokens=10 + number, digest=name) for number, name in enumerate(NAMES)]
SETTINGS = JointSettings(
    steps=24,
    batch=4,
    pool=3,
    rotate_every=4,
    mixing=Mixing(alone=0.3, most=2),
    question_offset=64,
    learning_rate=0.05,
    warm_up=3,
    checkpoint_every=6,
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(write_tiny_model(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.fixture(scope="module")
def study(reader: Reader) -> dict[str, list[StudyExample]]:
    return {
        name: studied_questions(
            reader,
            f"Document {name}. {TEXT}",
            [f"Who painted {name}?", f"When was {name} serviced?"],
            max_tokens=6,
            top_k=5,
        )
        for name in NAMES
    }


def first_slots(reader: Reader, name: str) -> tuple[Tensor, Tensor]:
    text = f"Document {name}. {TEXT}"
    return spread(reader, text, 3 + int(name[1:]) % 2, TrainingSettings())


def training(
    reader: Reader,
    study: dict[str, list[StudyExample]],
    folder: Path,
    settings: JointSettings = SETTINGS,
) -> JointTraining:
    return JointTraining(
        reader,
        MEMBERS,
        study.__getitem__,
        lambda name: first_slots(reader, name),
        settings,
        folder,
    )


def final(run: JointTraining) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: run.pool.slots(name) for name in NAMES}


def equal(one: dict[str, tuple[Tensor, Tensor]], two: dict[str, tuple[Tensor, Tensor]]) -> bool:
    return all(
        torch.equal(a, b) for name in NAMES for a, b in zip(one[name], two[name], strict=True)
    )


def test_everybody_learns_through_a_small_pool(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = training(reader, study, tmp_path)
    before = final(run)
    most = []
    run.run(lambda _: most.append(len(run.pool.resident)))
    assert max(most) == SETTINGS.pool
    assert min(run.pool.steps.values()) > 0
    assert not any(torch.equal(before[name][0], run.pool.slots(name)[0]) for name in NAMES)
    assert sum(run.pool.losses[-6:]) < sum(run.pool.losses[:6])


def test_a_killed_run_ends_as_one_that_was_not(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    whole = training(reader, study, tmp_path / "a")
    whole.run(lambda _: None)

    class Killed(BaseException):
        pass

    def die_at(step: int) -> None:
        run = training(reader, study, tmp_path / "b")

        def report(_: float) -> None:
            if run.step == step:
                raise Killed

        with pytest.raises(Killed):
            run.run(report)

    die_at(9)  # after a rotation that no checkpoint has seen
    die_at(17)
    last = training(reader, study, tmp_path / "b")
    assert last.step == 12
    last.run(lambda _: None)
    assert equal(final(whole), final(last))
    assert whole.pool.losses == last.pool.losses


def test_a_process_killed_anywhere_leaves_whole_states(tmp_path: Path) -> None:
    """SIGKILL at moments of its own choosing: in the middle of files, before the list, after it."""
    script = """
import sys, itertools
from pathlib import Path
from random import Random
import torch
from training.pool import Pool
torch.set_num_threads(1)
pool = Pool(Path(sys.argv[1]), 2, torch.device("cpu"), "one run")
names = ["a", "b", "c", "d"]
at = pool.resume()
if at is None:
    for name in names:
        pool.add(name, torch.zeros(1, 1, 400, 16), torch.zeros(1, 1, 400, 16))
    pool.rotate(0.5, Random(0), 0)
    pool.checkpoint(0)
    at = 0
for step in itertools.count(at + 1):
    for name, member in pool.resident.items():
        member.keys.grad = torch.ones_like(member.keys)
        member.values.grad = torch.ones_like(member.values)
    pool.learn(list(pool.resident), dict.fromkeys(names, 0.1))
    if step % 2 == 0:
        pool.rotate(0.5, Random(step), step)
    pool.checkpoint(step)
    print(step, flush=True)
"""
    rng = Random(3)
    seen = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "pool")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        for _ in range(rng.randint(2, 6)):  # as many checkpoints, then somewhere in the next
            seen = int(process.stdout.readline())
        time.sleep(rng.random() * 0.01)
        process.kill()
        process.wait()
        process.stdout.close()
        pool = Pool(tmp_path / "pool", 2, torch.device("cpu"), "one run")
        step = pool.resume()
        assert step is not None
        assert step >= seen
        assert sum(pool.steps.values()) == 2 * step  # two residents learn in each step
        for name, steps in pool.steps.items():
            assert bool(pool.slots(name)[0].any()) == bool(steps)


def test_a_cancelled_run_goes_on_where_it_was(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    whole = training(reader, study, tmp_path / "a")
    whole.run(lambda _: None)
    first = training(reader, study, tmp_path / "b")
    with pytest.raises(Cancelled):
        first.run(lambda _: None, lambda: first.step == 9)
    second = training(reader, study, tmp_path / "b")
    assert second.step == 9
    second.run(lambda _: None)
    assert equal(final(whole), final(second))


def test_leaving_and_coming_back_changes_no_bit(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = training(reader, study, tmp_path)
    run.run(lambda _: None)
    pool = run.pool
    inside = {name: pool._state(name) for name in pool.resident}
    while inside.keys() & pool.resident.keys():
        for name in pool.resident:
            pool.turns[name] += 100
        pool.rotate(1.0, Random(0), 99)
    for name in inside:
        pool.turns[name] = -1
    pool.rotate(1.0, Random(0), 100)
    for name, state in inside.items():
        again = pool._state(name)
        assert state.keys() == again.keys()
        assert all(torch.equal(state[part], again[part]) for part in state)


def test_a_row_sees_its_set_as_if_nothing_else_were_loaded(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = training(reader, study, tmp_path, replace(SETTINGS, pool=6, batch=8))
    rows = run._rows()
    keys, values, sees = run._side_by_side(rows)
    lesson = Lesson.of([row.example for row in rows], reader.device)
    together = answer_logits(reader, keys, values, lesson, 64, sees)
    at = 0
    for row in rows:
        pairs = [run.pool.slots(name) for name in row.visible]
        alone = Lesson.of([row.example], reader.device)
        solo = answer_logits(
            reader,
            torch.cat([k for k, _ in pairs], dim=2),
            torch.cat([v for _, v in pairs], dim=2),
            alone,
            64,
        )
        torch.testing.assert_close(together[at : at + len(solo)], solo, atol=1e-5, rtol=1e-4)
        at += len(solo)


@pytest.mark.parametrize("learners", ["all", "own"])
def test_who_gets_gradients(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path, learners: str
) -> None:
    mixing = Mixing(alone=0.0, most=5, hard=0.0, learners=learners)  # type: ignore[arg-type]
    run = training(reader, study, tmp_path, replace(SETTINGS, pool=6, batch=1, mixing=mixing))
    before = final(run)
    (row,) = run._rows()
    run._learn([row])
    moved = {name for name in NAMES if not torch.equal(before[name][0], run.pool.slots(name)[0])}
    assert moved == (set(row.visible) if learners == "all" else {row.own})
    assert {name for name, steps in run.pool.steps.items() if steps} == moved


def test_general_rows_have_no_cartridge_of_their_own(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, general_share=0.5, batch=40)
    with pytest.raises(TrainingRefused, match="general examples"):
        training(reader, study, tmp_path / "a", settings)
    run = JointTraining(
        reader,
        MEMBERS,
        study.__getitem__,
        lambda name: first_slots(reader, name),
        settings,
        tmp_path / "b",
        study["d0"],
    )
    owners = Counter(row.own is None for row in run._rows())
    assert 10 < owners[True] < 30


def test_long_documents_are_asked_about_more(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    members = [Member("d0", 900, "x"), Member("d1", 100, "y")]
    run = JointTraining(
        reader,
        members,
        study.__getitem__,
        lambda name: first_slots(reader, name),
        replace(SETTINGS, batch=200, pool=2),
        tmp_path,
    )
    owners = Counter(row.own for row in run._rows())
    assert owners["d0"] > 6 * owners["d1"] > 0


def test_a_folder_belongs_to_its_documents(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    training(reader, study, tmp_path)
    edited = [replace(MEMBERS[0], digest="edited"), *MEMBERS[1:]]
    for members, settings in ((edited, SETTINGS), (MEMBERS, replace(SETTINGS, pool=2))):
        with pytest.raises(TrainingRefused, match="another folder"):
            JointTraining(
                reader,
                members,
                study.__getitem__,
                lambda name: first_slots(reader, name),
                settings,
                tmp_path,
            )
    with pytest.raises(TrainingRefused, match="two documents"):
        JointTraining(
            reader,
            MEMBERS[:1],
            study.__getitem__,
            lambda name: first_slots(reader, name),
            SETTINGS,
            tmp_path / "one",
        )


def test_old_states_go_when_the_list_is_written(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / f".{'0' * 16}.tmp").write_bytes(b"of a crash")
    run = training(reader, study, tmp_path)
    run.run(lambda _: None)
    (tmp_path / "pool" / "d0.7.safetensors").write_bytes(b"of a crash")
    run.pool.checkpoint(run.step)
    files = sorted(path.name for path in (tmp_path / "pool").iterdir())
    assert len(files) == len(NAMES) + 1
    kept = load_file(tmp_path / "pool" / files[0])
    assert {"keys", "values", "keys.exp_avg", "values.exp_avg_sq", "keys.step"} <= kept.keys()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_a_member_cannot_name_a_path(tmp_path: Path, name: str) -> None:
    pool = Pool(tmp_path, 2, torch.device("cpu"), "run")
    with pytest.raises(InvalidId, match="not a valid member"):
        pool.add(name, torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))


def test_a_pool_needs_company_and_distinct_members(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two"):
        Pool(tmp_path, 1, torch.device("cpu"), "run")
    pool = Pool(tmp_path, 2, torch.device("cpu"), "run")
    pool.add("a", torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))
    with pytest.raises(ValueError, match="already"):
        pool.add("a", torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))


def test_everybody_has_a_turn_however_small_the_share(tmp_path: Path) -> None:
    pool = Pool(tmp_path, 2, torch.device("cpu"), "run")
    for name in "abcd":
        pool.add(name, torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))
    inside: set[str] = set()
    for step in range(4):
        pool.rotate(0.1, Random(step), step)
        assert len(pool.resident) == 2
        inside |= pool.resident.keys()
    assert inside == set("abcd")


@pytest.mark.parametrize(
    "wrong", [{"pool": 1}, {"warm_up": 0}, {"steps": 0}, {"rotate_share": 2}, {"known": 0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(TrainingRefused):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_members_that_cannot_be_trained_are_refused(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    for wrong in (replace(MEMBERS[0], tokens=0), replace(MEMBERS[0], name="../up")):
        with pytest.raises(TrainingRefused):
            JointTraining(
                reader,
                [wrong, *MEMBERS[1:]],
                lambda _: study["d0"],
                lambda _: first_slots(reader, "d0"),
                SETTINGS,
                tmp_path,
            )
    empty = JointTraining(
        reader, MEMBERS, lambda _: [], lambda _: first_slots(reader, "d0"), SETTINGS, tmp_path
    )
    with pytest.raises(TrainingRefused, match="no study"):
        empty.run(lambda _: None)


def test_who_comes_is_read_ahead(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = training(reader, study, tmp_path)
    states = run.pool._states
    missed: list[str] = []
    read = states.read

    def watched(file: str) -> dict[str, Tensor]:
        if file not in states._ahead:
            missed.append(file)
        return read(file)

    states.read = watched  # type: ignore[method-assign]
    run.run(lambda _: None)
    assert not missed


def test_beyond_the_pool_a_documents_length_counts_once(tmp_path: Path) -> None:
    names = [f"{kind}{n}" for kind in ("long", "short") for n in range(8)]
    pool = Pool(tmp_path, 4, torch.device("cpu"), "run")
    for name in names:
        pool.add(name, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    tokens = {name: 1000.0 if name.startswith("long") else 250.0 for name in names}
    asked: Counter[str] = Counter()
    for step in range(1200):
        if step % 3 == 0:
            pool.rotate(0.5, Random(step), step)
        resident = sorted(pool.resident)
        weights = {name: tokens[name] for name in resident}
        drawn = Draw(Mixing(alone=1.0), weights, lambda _: [EXAMPLE], {}).rows(4, Random(step))
        asked.update(row.own[:4] for row in drawn if row.own)
    # Four times the tokens, four times the rows; it was twelve where residency went by tokens, too.
    assert 3.2 < asked["long"] / asked["shor"] < 5.0


def test_what_cannot_be_written_is_told_at_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalBlobs.put

    def full(self: LocalBlobs, name: str, data: bytes) -> None:
        if name.endswith(".safetensors"):
            raise StorageFull("no room")
        put(self, name, data)

    pool = Pool(tmp_path, 2, torch.device("cpu"), "run")
    monkeypatch.setattr(LocalBlobs, "put", full)
    pool.add("a", torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    for _ in range(2):  # it stays unwritten, however often it is asked
        with pytest.raises(StorageFull):
            pool.checkpoint(0)
        with pytest.raises(StorageFull):
            pool.slots("a")
    assert not (tmp_path / "pool.json").exists()


def test_a_question_may_stand_right_behind_what_it_sees(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, batch=4, pool=6, offset_rule="visible")
    run = training(reader, study, tmp_path, settings)
    rows = run._rows()
    keys, values, sees = run._side_by_side(rows)
    behind = 1 + sees.visible.sum(1)
    lesson = Lesson.of([row.example for row in rows], reader.device)
    together = answer_logits(reader, keys, values, lesson, behind, sees)
    run._learn(rows)
    hidden = answer_states(reader, keys, values, lesson, behind, sees)
    loss = distillation_loss(reader, hidden, lesson)
    assert run.pool.losses[-1] == pytest.approx(float(loss.detach()), abs=1e-6)
    elsewhere = answer_logits(reader, keys, values, lesson, 64, sees)
    assert not torch.allclose(together, elsewhere)


def joining(
    reader: Reader, study: dict[str, list[StudyExample]], folder: Path, *, guarded: bool = True
) -> JointTraining:
    """One newcomer beside two documents that stay as they are."""
    frozen = [
        Frozen(name, name, *first_slots(reader, name), study[name] if guarded else ())
        for name in NAMES[:2]
    ]
    return JointTraining(
        reader,
        MEMBERS[2:3],
        study.__getitem__,
        lambda name: first_slots(reader, name),
        SETTINGS,
        folder,
        frozen=frozen,
    )


def test_a_newcomer_learns_beside_those_who_stay_as_they_are(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = joining(reader, study, tmp_path / "a")
    before = run.pool.slots("d2")
    run.run(lambda _: None)
    assert run.pool.steps == {"d2": SETTINGS.steps}
    assert not torch.equal(before[0], run.pool.slots("d2")[0])
    # Whose questions are asked makes a difference, and where it was stopped does not.
    unguarded = joining(reader, study, tmp_path / "b", guarded=False)
    unguarded.run(lambda _: None)
    assert not torch.equal(run.pool.slots("d2")[0], unguarded.pool.slots("d2")[0])
    stopped = joining(reader, study, tmp_path / "c")
    with pytest.raises(Cancelled):
        stopped.run(lambda _: None, lambda: stopped.step == 7)
    again = joining(reader, study, tmp_path / "c")
    again.run(lambda _: None)
    assert torch.equal(run.pool.slots("d2")[0], again.pool.slots("d2")[0])


def test_rates_warm_up_for_each_and_fall_for_all(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    rated = replace(SETTINGS, steps=100, warm_up=10, learning_rate=1.0, final_rate=0.1)
    run = training(reader, study, tmp_path, replace(rated, second_moment=0.9))
    name, other = [*run.pool.resident][:2]
    found = []
    for step, learned in ((0, 0), (0, 4), (50, 4), (50, 20), (99, 90)):
        run.step, run.pool.steps[name] = step, learned
        found.append(round(run._rate(name), 6))
    assert found == [0.1, 0.5, 0.25, 0.5, 0.1]
    run.step = 50
    assert run._rate(other) == pytest.approx(0.05)  # it has learned nothing yet
    groups = run.pool.resident[name].optimiser.param_groups
    assert [group["betas"] for group in groups] == [(0.9, 0.9)]


def test_a_folder_of_other_company_is_another_run(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    joining(reader, study, tmp_path)
    other = Frozen("d0", "a newer version", *first_slots(reader, "d0"))
    with pytest.raises(TrainingRefused, match="another"):
        JointTraining(
            reader,
            MEMBERS[2:3],
            study.__getitem__,
            lambda name: first_slots(reader, name),
            SETTINGS,
            tmp_path,
            frozen=[other],
        )
    with pytest.raises(TrainingRefused, match="two documents"):
        JointTraining(
            reader,
            MEMBERS[2:3],
            study.__getitem__,
            lambda name: first_slots(reader, name),
            SETTINGS,
            tmp_path / "alone",
        )


def test_collections_learn_to_say_nothing_about_who_is_not_there(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    silent = replace(SETTINGS, absent=0.9, steps=60, learning_rate=0.1)
    run = training(reader, study, tmp_path, silent)
    run.run(lambda _: None)
    assert all(loss == loss for loss in run.pool.losses)  # certain answers make no NaN
    assert sum(run.pool.losses[-10:]) < sum(run.pool.losses[:10])
    absent = [row for row in run._rows() if row.own is None]
    assert absent
    said = reader.chat.answer(silent.not_stated, reader.end_id)
    assert all(row.example.answer == tuple(said) for row in absent)
    with pytest.raises(TrainingRefused, match="absent"):
        replace(SETTINGS, absent=1.0)


def test_what_examples_last_lost_says_how_often_they_are_drawn(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = training(reader, study, tmp_path, replace(SETTINGS, pool=6, mixing=Mixing(alone=1.0)))
    (name, *_) = run.pool.resident
    lesson = Lesson.of(study[name][:1], reader.device)
    pair = run.pool.slots(name)
    asked = Row(study[name][0], name, (name,), 0)
    assert run._due(name) == pytest.approx([3.2, 3.2])  # nothing was asked yet
    run._learn([asked])
    logs = torch.log_softmax(answer_logits(reader, *pair, lesson, 64), -1)
    tops = lesson.top_logprobs
    lost = (tops.exp() * (tops - logs.gather(-1, lesson.top_ids))).sum()
    assert run._due(name) == pytest.approx([0.2 + float(lost), 3.2], abs=1e-4)
    # It is part of the state: who leaves and comes back knows it, and so does a run that goes on.
    run.pool.checkpoint(1)
    assert training(
        reader, study, tmp_path, replace(SETTINGS, pool=6, mixing=Mixing(alone=1.0))
    )._due(name) == run._due(name)
    # Of another study nothing is known, and rows about nobody's document leave it as it is.
    run.pool.resident[name].lately = torch.ones(7)
    assert run._due(name) == pytest.approx([3.2, 3.2])
    run._learn([Row(study[name][0], None, (name,)), Row(study[name][1], name, (name,))])
    assert run._due(name) == pytest.approx([3.2, 3.2])
    alike = training(reader, study, tmp_path / "alike", replace(SETTINGS, known=None))
    assert alike._due(next(iter(alike.pool.resident))) is None


def test_a_loss_that_is_no_number_ends_the_run_in_words(
    reader: Reader, study: dict[str, list[StudyExample]], tmp_path: Path
) -> None:
    run = training(reader, study, tmp_path)
    for member in run.pool.resident.values():
        member.keys.data.fill_(torch.nan)
    with pytest.raises(TrainingRefused, match="not finite"):
        run.run(lambda _: None)
