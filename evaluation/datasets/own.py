"""A user's own questions: `questions.jsonl`, or a folder that holds it with its documents.

A line is `{"question": ..., "answers": [...]}`, with `id`, `documents` (ids of those that answer it),
`options` (the answer has to be one of them) and `kind` (`span` or `free`) where wanted; an empty list
of answers says that the documents do not tell; `about` is a note that is not read. A file is about
documents that a collection holds already. Where a folder is named, its folder `documents/` holds the files
that are asked about, read as the service reads uploads, with their names without suffix as ids. Knows no
score.
"""

from pathlib import Path
from typing import Any

from evaluation.datasets.files import Entry, read_lines
from evaluation.datasets.ids import Ids
from evaluation.datasets.questions import LETTERS, Dataset, DatasetRefused, Document, Kind, Question
from retrieval.documents import check_id
from retrieval.errors import DocumentRefused
from retrieval.parsing import parse

_FIELDS = ("id", "question", "answers", "documents", "options", "kind", "about")


def load_own(path: Path) -> Dataset:
    """Questions of a file, or a folder's questions and documents. Raises `DatasetRefused`."""
    whole = path.is_dir()
    file = path / "questions.jsonl" if whole else path
    documents = _documents(path / "documents") if whole else ()
    known = {document.id for document in documents} if documents else None
    questions: list[Question] = []
    seen: dict[str, str] = {}
    for number, line in enumerate(read_lines(file), 1):
        question = _question(line, line.optional("id") or f"question-{number}", known)
        if question.id in seen:
            raise line.refusal(f"the id {question.id!r} is also that of {seen[question.id]}.")
        seen[question.id] = line.where
        questions.append(question)
    if not questions:
        raise DatasetRefused(f"{file}: there are no questions in it; write one a line, as JSON.")
    return Dataset("own", documents, tuple(questions))


def to_lines(dataset: Dataset) -> list[dict[str, Any]]:
    """The questions of any data set as objects such as the lines of `questions.jsonl`.

    An id that the service would not take is left out.
    """
    return [
        ({"id": each.id} if _is_id(each.id) else {})
        | {
            "question": each.text,
            "answers": list(each.golds),
            "documents": list(each.documents),
            "kind": "free" if each.kind == "free" else "span",
            "options": list(each.options),
        }
        for each in dataset.questions
    ]


def _is_id(id: str) -> bool:
    try:
        check_id(id)
    except DocumentRefused:
        return False
    return True


def _documents(folder: Path) -> tuple[Document, ...]:
    if not folder.is_dir():
        return ()
    ids = Ids()
    found = []
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.name.startswith("."):
            continue
        try:
            parsed = parse(file.read_bytes(), file.name)
        except (DocumentRefused, OSError) as error:
            raise DatasetRefused(f"{file}: {error}") from error
        found.append(Document(ids.document(file.stem), parsed.title, parsed.text))
    return tuple(found)


def _question(line: Entry, id: str, known: set[str] | None) -> Question:
    for name in line.fields:
        if name not in _FIELDS:
            raise line.refusal(f"{name!r} is not known; use {', '.join(_FIELDS)}.")
    if "answers" not in line.fields:
        raise line.refusal("'answers' is missing; write a list, empty if the documents do not say.")
    golds = line.texts("answers")
    documents = line.texts("documents")
    for document in documents:
        try:
            check_id(document)
        except DocumentRefused as error:
            raise line.refusal(f"{document!r} in 'documents': {error.reason}") from error
        if known is not None and document not in known:
            raise line.refusal(
                f"there is no document {document!r}; name a file of the folder 'documents'."
            )
    options = line.texts("options")
    text = line.text("question")
    if not options:
        return Question(id, text, golds, _kind(line, golds), documents)
    if not 2 <= len(options) <= len(LETTERS):
        raise line.refusal(f"'options' has to be 2 to {len(LETTERS)} different texts.")
    if len(golds) != 1 or golds[0] not in options:
        raise line.refusal("'answers' has to hold one of 'options', and nothing else.")
    return Question(id, text, golds, "choice", documents, options, options.index(golds[0]))


def _kind(line: Entry, golds: tuple[str, ...]) -> Kind:
    if not golds:
        return "unanswerable"
    match line.optional("kind"):
        case "" | "span":
            return "span"
        case "free":
            return "free"
        case other:
            raise line.refusal(f"the kind {other!r} is not known; write 'span' or 'free'.")
