"""How the rows of a list look as text: a table, separated values, lines with labels or without, records.

Each gives the whole text and, of every row, what can be quoted. This file knows looks alone.
"""

from collections.abc import Callable, Sequence
from random import Random

from reader.layouts import capital

Rows = Sequence[Sequence[str]]
Style = Callable[[Random, Sequence[str], Rows], tuple[str, list[str]]]
"""Draws how it looks; heads and rows begin with what the rows are about."""


def _pipes(rng: Random, heads: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
    outer = rng.random() < 0.7
    drawn = [" | ".join(row) for row in (list(map(str.capitalize, heads)), *rows)]
    lines = [f"| {line} |" if outer else line for line in drawn]
    rule = ["|" + " --- |" * len(heads)] if outer else []
    return "\n".join([lines[0], *rule, *lines[1:]]), drawn[1:]


def _separated(rng: Random, heads: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
    sign = rng.choice((",", ",", ";", "\t", " / ", ", "))
    lines = [sign.join(row) for row in (heads, *rows)]
    return "\n".join(lines), [" | ".join(row) for row in rows]  # whose words stand apart


def _labelled(rng: Random, heads: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
    sign, between = rng.choice(((": ", ", "), (" – ", "; "), (": ", "; "), (", ", ", ")))
    mark = rng.choice(("", "- ", "* "))
    lines = [
        f"{mark}{capital(item)}{sign}"
        + between.join(f"{head} {value}" for head, value in zip(heads[1:], values, strict=True))
        for item, *values in rows
    ]
    return "\n".join(lines), lines


def _records(rng: Random, heads: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
    form, under = rng.choice(
        (
            ("{H}: {V}", "## {I}\n"),
            ("{H}: {V}", "{I}\n"),
            ("{h}..... {V}", "{I}\n"),
            ("- {h}: {V}", "{I}:\n"),
        )
    )
    blocks = [
        under.format(I=capital(item))
        + "\n".join(
            form.format(H=capital(head), h=head, V=value)
            for head, value in zip(heads[1:], values, strict=True)
        )
        for item, *values in rows
    ]
    return "\n\n".join(blocks), blocks


def _plain(rng: Random, _: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
    sign, between = rng.choice(
        ((": ", ", "), (" – ", ", "), (", ", ", "), (" ", ", "), (": ", "; "), (", ", "; "))
    )
    mark = rng.choice(("", "", "- ", "* "))
    lines = [f"{mark}{capital(item)}{sign}{between.join(values)}" for item, *values in rows]
    return "\n".join(lines), [line.removeprefix(mark) for line in lines]


def _bracketed(rng: Random, _: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
    mark = rng.choice(("", "- "))
    lines = [
        f"{mark}{capital(item)}{rng.choice((' ', ': '))}{first}"
        + (f" ({', '.join(rest)})" if rest else "")
        for item, first, *rest in rows
    ]
    return "\n".join(lines), [line.removeprefix(mark) for line in lines]


HEADED: tuple[Style, ...] = (_pipes, _separated, _separated, _labelled, _records)
BARE: tuple[Style, ...] = (_plain, _plain, _bracketed)
