"""Tables, lists and records that people keep of things, persons and departures, and plain questions.

Sheets state what is said of a subject under its own label. A list that somebody keeps has columns that
are asked for as people ask, or no heads at all, and whoever asks for a column that it lacks gets no
answer. This file draws; it knows no wording (`columns.py`), no look (`rows.py`), no document and no tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from reader import lexicon as lx
from reader import names
from reader.columns import COLUMNS, HEADS, LOOK, OTHERS, REVERSE, VEHICLES, Column
from reader.layouts import capital
from reader.parts import COLOURS, Parts
from reader.rows import BARE, HEADED
from reader.sayings import Told

_MOST = 4  # columns beside the first


@dataclass(frozen=True, slots=True)
class _Item:
    """What a row is about: as the row has it, and as a question has it (`them`: several of it)."""

    text: str
    it: str
    them: str = ""
    told: bool = False  # whether it says how the thing looks


class Tables:
    """Draws one list after another; everything drawn is of training."""

    def __init__(self, rng: Random, parts: Parts) -> None:
        self._rng, self._parts = rng, parts
        self._values: Mapping[str, Callable[[], str]] = {
            "person": parts.person,
            "day": lambda: names.date(rng, "train"),
            "weekday": lambda: names.drawn(lambda r: r.choice(lx.DAYS), rng, "train"),
            "hour": self._hour,
            "where": parts.where,
            "place": lambda: names.place(rng, "train"),
            "money": lambda: parts.amount(("euros", "dollars", "pounds", "crowns")),
            **{
                unit: partial(parts.amount, (unit,))
                for unit in ("kg", "cm", "metres", "mm", "minutes")
            },
            "material": lambda: names.drawn(lambda r: r.choice(lx.MATERIALS), rng, "train"),
            "colour": lambda: rng.choice(COLOURS),
            "state": parts.state,
            "code": lambda: rng.choice((names.code, names.number))(rng, "train"),
            "years": lambda: names.drawn(lambda r: f"{r.randint(3, 99)} years", rng, "train"),
            "digits": lambda: names.drawn(lambda r: f"0{r.randint(10**6, 10**8)}", rng, "train"),
            "number": parts.number,
            "role": parts.role,
        }

    def table(self, count: int) -> tuple[str, list[Told]]:
        """A list of so many rows as text, and each row with what it answers and leaves open.

        Rows without heads are their own answer.
        """
        rng = self._rng
        kind = rng.choice(("thing", "thing", "several", "person", "trip"))
        vehicle, vehicles = rng.choice(VEHICLES)
        about = [self._item(kind, vehicle) for _ in range(count)]
        items = list({item.it.lower(): item for item in about}.values())
        verb = self._parts.verb()
        shared = {"past": verb.past, "part": verb.participle, "base": verb.base}
        headed = rng.random() < 0.75
        columns = self._columns(kind, headed=headed)
        known = {column.topic for column in columns}
        missing = [column for column in COLUMNS[kind] if column.topic not in known]
        heads = [rng.choice(c.heads).format(role=self._parts.role(), **shared) for c in columns]
        values = [self._fresh(column, len(items)) for column in columns]
        first = rng.choice(HEADS[kind])
        labels = [head.partition("=")[0] for head in heads]
        rows = [
            [item.text, *row] for item, row in zip(items, zip(*values, strict=True), strict=True)
        ]
        style = rng.choice(HEADED if headed else BARE)
        text, lines = style(rng, [first, *labels], rows)
        told = []
        for place, (item, line) in enumerate(zip(items, lines, strict=True)):
            asks: list[tuple[str, str]] = []
            for column, head, of in zip(columns, heads, values, strict=True):
                asks += self._asks(column, head, item, of, place, shared, kind if headed else "")
            left = [
                rng.choice(column.asks).format_map(_fields(column.heads[0], item, shared))
                for column in rng.sample(missing, min(2, len(missing)))
                if "{role}" not in column.heads and not (item.told and column.about == LOOK)
            ]
            questions = tuple((capital(ask), answer) for ask, answer in asks)
            told.append(Told(line, questions, tuple(map(capital, left))))
        # What is asked for by a verb has that verb at its head, or the whole list has.
        named = any(
            column.verb and not (headed and verb.participle in label)
            for column, label in zip(columns, labels, strict=True)
        )
        if kind == "trip":
            text = (
                f"{self._title((vehicles, f'our {vehicles}', f'{vehicles} of this week'))}\n{text}"
            )
        elif named:
            done = verb.participle
            titles = (f"things {done}", f"list of what was {done}", f"what was {done}")
            text = f"{self._title(titles)}\n{text}"
        elif rng.random() < 0.4:
            text = f"{self._title((f'{self._parts.noun()} {self._parts.noun()}',))}\n{text}"
        return text, told

    def _title(self, titles: Sequence[str]) -> str:
        rng = self._rng
        title = capital(rng.choice(titles))
        return rng.choice((f"## {title}", title, f"{title}:"))

    def _columns(self, kind: str, *, headed: bool) -> list[Column]:
        """Some columns, no two for one kind of value; without heads, such as values tell by themselves."""
        rng, found = self._rng, dict[str, Column]()
        known = [column for column in COLUMNS[kind] if headed or not column.head]
        order = rng.sample(known, len(known))
        if kind == "several":
            order.sort(key=lambda column: column.kind != "number")
        for column in order:  # "in which place" asks for both kinds of places
            found.setdefault("where" if column.about == "where" else column.kind, column)
        chosen = list(found.values())[: rng.randint(1, _MOST)]
        return rng.sample(chosen, len(chosen))

    def _fresh(self, column: Column, count: int) -> list[str]:
        return [self._values[column.kind]() for _ in range(count)]

    def _hour(self) -> str:
        rng = self._rng
        return names.drawn(
            lambda r: f"{r.randrange(24):{r.choice(('', '02'))}d}:{r.randrange(60):02d}",
            rng,
            "train",
        )

    def _item(self, kind: str, vehicle: str) -> _Item:
        rng, parts = self._rng, self._parts
        if kind == "person":
            name = parts.person()
            return _Item(name, name)
        if kind == "trip":
            place = names.place(rng, "train")
            return _Item(place, f"the {vehicle} to {place}")
        quality = f"{rng.choice(lx.ADJECTIVES)} " if rng.random() < 0.3 else ""
        if kind == "several":
            things = f"{quality}{parts.plural()}"
            return _Item(things, f"the {things}", things, told=bool(quality))
        thing = f"{quality}{parts.noun()}"
        return _Item(thing, f"the {thing}", told=bool(quality))

    def _asks(
        self,
        column: Column,
        head: str,
        item: _Item,
        values: Sequence[str],
        place: int,
        shared: Mapping[str, str],
        kind: str,
    ) -> list[tuple[str, str]]:
        """Two questions about one cell, at times one for whose it is; without heads there is no `kind`."""
        rng, headed = self._rng, bool(kind)
        fields = _fields(head, item, shared) | {"V": values[place]}
        answer = column.answer.format_map(fields) if headed else ""
        asks = [rng.choice(column.asks), rng.choice(column.asks)]
        if values.count(values[place]) == 1 and rng.random() < 0.5:
            own = column.reverse is not REVERSE
            reverse = rng.choice(column.reverse if own else OTHERS.get(kind, REVERSE))
            asks += [reverse] if headed or "{N}" not in reverse else []
        return [(ask.format_map(fields), answer) for ask in asks]


def _fields(head: str, item: _Item, shared: Mapping[str, str]) -> dict[str, str]:
    label, _, noun = head.partition("=")
    it = item.it
    return {
        **shared,
        "is": "are" if item.them else "is",
        "was": "were" if item.them else "was",
        "it": it,
        "It": capital(it),
        "S": it,
        "them": item.them,
        "head": label,
        "first": label.partition(" ")[0],
        "N": noun or label,
    }
