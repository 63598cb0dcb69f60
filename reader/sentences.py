"""Plain sentences of real documentation: those of the docstrings of Python packages.

This file knows Python files and sentences; it knows no passage and no question.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_PLAIN = re.compile(r"[A-Z][A-Za-z ,'\-]{24,150}\.")
_ENDS = re.compile(r"(?<=\.)\s+(?=[A-Z])")
_SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"})
_LARGEST = 400_000  # bytes of a source file; larger ones are generated


def sentences(folders: Sequence[Path]) -> list[str]:
    """Plain sentences of the docstrings under `folders`, each once, in the order of their files."""
    found: dict[str, None] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if not _SKIPPED.isdisjoint(path.relative_to(folder).parts):
                continue
            for text in _docstrings(path):
                for paragraph in re.split(r"\n\s*\n", text):
                    for sentence in _ENDS.split(" ".join(paragraph.split())):
                        plain = _PLAIN.fullmatch(sentence) and "--" not in sentence
                        if plain and 5 <= sentence.count(" ") <= 24:
                            found[sentence] = None
    return list(found)


def _docstrings(path: Path) -> Iterator[str]:
    if path.stat().st_size > _LARGEST:
        return
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # templates and test data that are no Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""
