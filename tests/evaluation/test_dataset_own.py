"""A user's own questions; bad files of any kind; samples; ids."""

import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.datasets.catalogue import FROM_FILES, NAMES, limited, load
from evaluation.datasets.ids import Ids
from evaluation.datasets.questions import Dataset, DatasetRefused, Document, Question, asked
from retrieval.documents import check_id


def questions(path: Path, *lines: str) -> Path:
    file = path / "questions.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_own_questions(tmp_path: Path) -> None:
    file = questions(
        tmp_path,
        '{"question": "Who?", "answers": ["Ann", "Ann Smith"]}',
        "",
        '{"id": "x", "question": "When?", "answers": [], "documents": ["boiler"]}',
        '{"question": "Which?", "answers": ["red"], "options": ["red", "blue"]}',
        '{"question": "Why?", "answers": ["It was cold."], "kind": "free"}',
    )
    found = load("own", file)
    assert found.documents == ()
    assert [(q.id, q.kind, q.golds) for q in found.questions] == [
        ("question-1", "span", ("Ann", "Ann Smith")),
        ("x", "unanswerable", ()),
        ("question-3", "choice", ("red",)),
        ("question-4", "free", ("It was cold.",)),
    ]
    assert found.questions[1].documents == ("boiler",)
    assert found.questions[2].gold_option == 0
    assert asked(found.questions[0]) == "Who?"


def test_own_documents(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "The Boiler.md").write_text("# Boiler\n\nAnn serviced it.")
    (folder / ".hidden").write_text("x")
    line = '{"question": "Who?", "answers": ["Ann"], "documents": ["the-boiler"]}'
    questions(tmp_path, line)
    found = load("own", tmp_path)
    document = Document("the-boiler", "Boiler", "# Boiler\n\nAnn serviced it.")
    assert found.documents == (document,)
    questions(tmp_path, line.replace("the-boiler", "boiler"))
    with pytest.raises(DatasetRefused, match=r"line 1: there is no document 'boiler'"):
        load("own", tmp_path)
    (folder / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetRefused, match=r"bad\.txt: "):
        load("own", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "Who?"}', "'answers' is missing"),
        ('{"question": "Who?", "answer": "Ann"}', "'answer' is not known; use id, question"),
        ('{"question": "Who?", "answers": "Ann"}', "'answers' is not a list"),
        ('{"question": "Who?", "answers": [["Ann"]]}', "not a text"),
        ('{"question": "Who?", "answers": [true]}', "not a text"),
        ('{"question": " ", "answers": ["Ann"]}', "'question' is missing or empty"),
        ('{"question": "a\\u0000", "answers": ["Ann"]}', "NUL"),
        ('{"question": "\\ud800", "answers": ["Ann"]}', "surrogate"),
        (
            '{"question": "Who?", "answers": ["Ann"], "documents": ["../x"]}',
            "'../x' in 'documents'",
        ),
        ('{"question": "Who?", "answers": ["Ann"], "options": ["Bob", "Cy"]}', "one of 'options'"),
        ('{"question": "Who?", "answers": ["Ann"], "options": ["Ann"]}', "2 to 26"),
        ('{"question": "Who?", "answers": ["Ann"], "kind": "choice"}', "write 'span' or 'free'"),
        ('{"question": "Who?", "answers": ["Ann"]', "this is not JSON"),
        ('["Who?"]', "not a JSON object"),
        ('{"id": "a", "question": "Who?", "answers": []}', "is also that of"),
        ("[" * 100_000, "too deep"),
        ('{"question": ' + "9" * 5000 + "}", "number too long"),
    ],
)
def test_refused_lines(tmp_path: Path, line: str, message: str) -> None:
    file = questions(tmp_path, '{"id": "a", "question": "Who?", "answers": ["Ann"]}', line)
    with pytest.raises(DatasetRefused, match=re.escape(message)) as refused:
        load("own", file)
    assert str(refused.value).startswith(f"{file}, line 2")
    assert "\n" not in str(refused.value)


def test_refused_files(tmp_path: Path) -> None:
    for name in FROM_FILES:
        with pytest.raises(DatasetRefused):
            load(name, tmp_path / "nothing")
        for content in (
            b"",
            b"\xff",
            b"[]",
            b"{}",
            b"null",
            b'{"data": [1]}',
            b'{"a": {}}',
            b"[[]]",
        ):
            file = tmp_path / "bad"
            file.write_bytes(content)
            with pytest.raises(DatasetRefused):
                load(name, file)
    with pytest.raises(DatasetRefused, match="this is a folder"):
        load("squad", tmp_path)


def test_refused_calls(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused, match="choose one of world, own"):
        load("triviaqa", tmp_path)
    with pytest.raises(DatasetRefused, match="give its path"):
        load("squad")
    with pytest.raises(DatasetRefused, match="leave the path out"):
        load("world", tmp_path)
    for limits in ({"limit_documents": 0}, {"limit_questions": -1}):
        with pytest.raises(DatasetRefused, match="at least 1"):
            load("squad", tmp_path, **limits)
    assert NAMES[0] == "world"
    assert len(NAMES) == 10


NAMED = (
    "data title paragraphs context qas answers texts questions conversation qa session_1 full_text "
    "name story sections answer"
).split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMED), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(sorted(FROM_FILES)))
def test_whatever_stands_in_a_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: object, name: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "random.json"
    file.write_text(json.dumps(value))
    with suppress(DatasetRefused):
        assert load(name, file).questions


def sample_of(count: int) -> Dataset:
    documents = tuple(Document(f"d{n}", "t", "x") for n in range(count))
    pairs = [(f"d{n}", f"d{(n + 1) % count}") for n in range(count)]
    return Dataset(
        "sample",
        documents,
        tuple(
            Question(f"q{n}", "?", ("x",), "span", about if n % 2 else about[:1])
            for n, about in enumerate(pairs)
        ),
    )


def test_samples_keep_order_and_whole_questions() -> None:
    whole = sample_of(20)
    assert limited(whole, None, None) == limited(whole, 20, 20) == whole
    some = limited(whole, 8, 3, seed=1)
    assert some == limited(whole, 8, 3, seed=1)
    assert some != limited(whole, 8, 3, seed=2)
    assert len(some.documents) == 8
    assert len(some.questions) == 3
    assert [d.id for d in some.documents] == [d.id for d in whole.documents if d in some.documents]
    there = {document.id for document in some.documents}
    assert all(there.issuperset(question.documents) for question in some.questions)
    without = Dataset("own", (), whole.questions)
    assert limited(without, 3, None).questions == whole.questions
    # Nobody says which document answers it: it may be one that was left out.
    somewhere = Question("somewhere", "Who?", ("Ann",), "span")
    nowhere = Question("nowhere", "Who?", (), "unanswerable")
    added = replace(whole, questions=(*whole.questions, somewhere, nowhere))
    assert {"somewhere", "nowhere"} <= {q.id for q in limited(added, None, None).questions}
    left = {q.id for q in limited(added, 3, None).questions}
    assert ("nowhere" in left, "somewhere" in left) == (True, False)


@given(st.lists(st.text(max_size=200), max_size=8))
def test_ids_are_safe_and_unique(names: list[str]) -> None:
    ids = Ids()
    found = [ids.document(name) for name in [*names, *names]]
    assert len(set(found)) == len(found)
    assert all(check_id(id) == id for id in found)
    again = Ids()
    assert found == [again.document(name) for name in [*names, *names]]


def test_ids_tell_their_names() -> None:
    ids = Ids()
    assert ids.document("Ångström: a Life") == "angstrom-a-life"
    assert ids.document("../../etc") == "etc"
    assert ids.document("a..b") == "a.b"
    assert [ids.document("東京"), ids.document("")] == ["document", "document-2"]
    assert [ids.question("q"), ids.question("q")] == ["q", "q-2"]
    assert ids.document("x" * 300) != ids.document("x" * 300)


@pytest.mark.parametrize(
    "fields",
    [
        {"golds": ("x",), "kind": "choice", "options": ("x",), "gold_option": 0},
        {"golds": ("x",), "kind": "choice", "options": ("x", "y"), "gold_option": 2},
        {"golds": ("x",), "kind": "span", "options": ("x", "y")},
        {"golds": (), "kind": "span"},
        {"golds": ("x",), "kind": "unanswerable"},
    ],
)
def test_questions_that_contradict_themselves(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Question("q", "?", **fields)  # type: ignore[arg-type]


def test_ids_of_a_data_set_are_unique() -> None:
    question = Question("q", "?", ("x",), "span")
    with pytest.raises(ValueError, match="not unique"):
        Dataset("d", (), (question, question))
