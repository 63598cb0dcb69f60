"""Tables, lists and records that people keep of things, persons and departures, and plain questions.

Sheets state what is said of a subject under its own label. A list that somebody keeps has columns that
are asked for otherwise than they are headed ("place": "Where is the lamp?"), or no heads at all, and
whoever asks for a column that it lacks gets no answer. This file knows columns and how rows look; it knows
no document and no tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from reader import lexicon as lx
from reader import names
from reader.parts import COLOURS, Parts
from reader.sayings import HOLDERS, Told

_LOOK = "look"
_REVERSE = ("what has the {N} {V}?", "what has {V} as its {N}?")


@dataclass(frozen=True, slots=True)
class Column:
    """What a list says of each of its items.

    `heads` are ways to head it, each with the noun that an answer uses behind `=` where that is another.
    `asks` are questions about `{it}`; where `person` is set, what was asked for is who did something.
    """

    kind: str  # of its values: no list has two columns of one kind
    heads: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str = "The {N} of {it} is {V}."
    reverse: tuple[str, ...] = _REVERSE
    about: str = ""  # what several columns say something of: of these none is open beside another

    @property
    def topic(self) -> str:
        """What the column says something of, by which lists choose."""
        return self.about or self.kind

    @property
    def verb(self) -> bool:
        """Whether questions name what was done."""
        return any("{part}" in ask or "{past}" in ask for ask in self.asks)

    @property
    def head(self) -> bool:
        """Whether questions name the head."""
        return any("{N}" in ask or "{first}" in ask for ask in self.asks)


_THINGS = (
    Column(
        "person",
        ("{part} by", "by", "by whom", "who", "name", "person"),
        ("who {past} {it}?", "by whom {was} {it} {part}?", "who was it that {past} {it}?"),
        "The person who {past} {it} is {V}.",
        ("what did {V} {base}?", "what was {part} by {V}?"),
    ),
    Column("person", ("{role}",), HOLDERS),
    Column(
        "person",
        ("lent to", "sent to", "given to", "promised to"),
        ("to whom {was} {it} {first}?", "who {was} {it} {first} to?"),
        "{It} {was} {head} {V}.",
        ("what was {head} {V}?",),
    ),
    Column(
        "day",
        ("{part} on", "date", "day", "when=date"),
        (
            "when {was} {it} {part}?",
            "on which day {was} {it} {part}?",
            "what date {was} {it} {part}?",
        ),
        "{It} {was} {part} on {V}.",
        ("what was {part} on {V}?",),
        about="when",
    ),
    Column(
        "hour",
        ("time", "hour", "at=time"),
        ("at what time {was} {it} {part}?", "what time {was} {it} {part}?"),
        reverse=("what was {part} at {V}?",),
        about="when",
    ),
    Column(
        "where",
        ("place", "where=place", "location", "kept=place"),
        ("where {is} {it}?", "where can {it} be found?", "in which place {is} {it}?"),
        reverse=("what is {V}?", "what can be found {V}?"),
        about="where",
    ),
    Column(
        "place",
        ("place", "town", "where=place", "{part} in=place"),
        ("where {was} {it} {part}?", "in which place {was} {it} {part}?"),
        reverse=("what was {part} in {V}?",),
        about="where",
    ),
    Column(
        "money",
        ("price", "cost", "value", "each=price"),
        ("how much {is} {it}?", "how much does {it} cost?", "what does {it} cost?"),
        reverse=("what costs {V}?",),
    ),
    Column("kg", ("weight",), ("how heavy {is} {it}?", "what does {it} weigh?")),
    Column("cm", ("length",), ("how long {is} {it}?",), about="size"),
    Column("metres", ("height",), ("how high {is} {it}?", "how tall {is} {it}?"), about="size"),
    Column("mm", ("size",), ("what size {is} {it}?", "how big {is} {it}?"), about="size"),
    Column(
        "material",
        ("material", "made of=material"),
        ("what {is} {it} made of?", "of what material {is} {it}?"),
        reverse=("what is made of {V}?",),
        about=_LOOK,
    ),
    Column(
        "colour", ("colour",), ("what colour {is} {it}?", "which colour {is} {it}?"), about=_LOOK
    ),
    Column(
        "state",
        ("condition", "state"),
        ("in what condition {is} {it}?", "what state {is} {it} in?"),
        reverse=("what is {V}?",),
        about=_LOOK,
    ),
    Column("code", ("number", "code", "mark", "no.=number"), ("what number has {it}?",)),
)
_SEVERAL = (
    Column(
        "number",
        ("number", "how many=number", "pieces=number", "count"),
        ("how many {them} are there?", "how many {them} do we have?", "how many {them}?"),
        "The number of {them} is {V}.",
        ("what are there {V} of?",),
    ),
    *(column for column in _THINGS if column.kind in {"where", "material", "colour", "state"}),
)
_PERSONS = (
    Column(
        "role",
        ("post", "job", "what=post"),
        ("what does {it} do?", "what is the job of {it}?", "what post has {it}?"),
        reverse=("who is the {V}?", "who works here as {V}?"),
    ),
    Column(
        "day",
        ("born", "born on"),
        ("when was {it} born?",),
        "{It} was born on {V}.",
        ("who was born on {V}?",),
    ),
    Column(
        "weekday",
        ("day", "days=day", "on duty=day", "works=day"),
        ("on which day does {it} work?", "when {is} {it} on duty?", "which day has {it}?"),
        reverse=("who works on {V}?", "who is on duty on {V}?"),
        about="when",
    ),
    Column(
        "hour",
        ("from=start", "starts=start", "time"),
        ("when does {it} start?", "at what time does {it} begin?"),
        reverse=("who starts at {V}?",),
        about="when",
    ),
    Column("code", ("room", "desk", "locker"), ("which {N} has {it}?", "in which {N} {is} {it}?")),
    Column(
        "digits",
        ("telephone", "call=telephone", "phone"),
        ("how can {it} be called?", "what is the number of {it}?"),
        reverse=("whose {N} is {V}?",),
    ),
    Column(
        "place",
        ("home", "from=home", "lives in=home"),
        ("where does {it} live?", "where {is} {it} from?", "where does {it} come from?"),
        reverse=("who comes from {V}?", "who lives in {V}?"),
    ),
    Column("years", ("age",), ("how old {is} {it}?",), reverse=("who is {V} old?",)),
    Column(
        "money",
        ("fee", "pays=fee"),
        ("how much does {it} pay?", "what does {it} pay?"),
        reverse=("who pays {V}?",),
    ),
    Column(
        "number",
        ("points", "votes"),
        ("how many {N} did {it} get?", "how many {N} are there for {it}?"),
        reverse=("who has {V} {N}?",),
    ),
)
_TRIPS = (
    Column(
        "hour",
        ("departure", "leaves=departure", "time", "from=departure"),
        ("when does {it} leave?", "at what time does {it} leave?", "when {is} {it}?"),
        about="when",
    ),
    Column("code", ("platform", "gate", "pier"), ("from which {N} does {it} leave?",)),
    Column(
        "minutes",
        ("time on the way", "takes=time on the way", "duration"),
        ("how long does {it} take?", "how long is the way with {it}?"),
    ),
    Column(
        "weekday",
        ("day", "runs=day", "days=day"),
        ("on which day does {it} leave?", "on which day does {it} run?"),
        about="when",
    ),
    Column("money", ("fare", "price"), ("how much {is} {it}?", "what does {it} cost?")),
    Column("person", ("driver", "guide", "captain"), ("who is the {N} of {it}?",)),
)
_HEADS: Mapping[str, tuple[str, ...]] = {
    "thing": ("item", "what", "thing", "object", "name"),
    "several": ("what", "things", "item", "kind"),
    "person": ("name", "who", "person", "member"),
    "trip": ("to", "towards", "destination"),
}
_OTHERS = {"person": ("who has the {N} {V}?",), "trip": ("where does one go with the {N} {V}?",)}
_COLUMNS = {"thing": _THINGS, "several": _SEVERAL, "person": _PERSONS, "trip": _TRIPS}
_VEHICLES = tuple(
    zip(
        "train bus ferry boat tram coach".split(),
        "trains buses ferries boats trams coaches".split(),
        strict=True,
    )
)
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
        vehicle, vehicles = rng.choice(_VEHICLES)
        about = [self._item(kind, vehicle) for _ in range(count)]
        items = list({item.it.lower(): item for item in about}.values())
        verb = self._parts.verb()
        shared = {"past": verb.past, "part": verb.participle, "base": verb.base}
        headed = rng.random() < 0.75
        columns = self._columns(kind, headed=headed)
        known = {column.topic for column in columns}
        missing = [column for column in _COLUMNS[kind] if column.topic not in known]
        heads = [rng.choice(c.heads).format(role=self._parts.role(), **shared) for c in columns]
        values = [self._fresh(column, len(items)) for column in columns]
        first = rng.choice(_HEADS[kind])
        labels = [head.partition("=")[0] for head in heads]
        rows = [
            [item.text, *row] for item, row in zip(items, zip(*values, strict=True), strict=True)
        ]
        style = rng.choice(_HEADED if headed else _BARE)
        text, lines = style(rng, [first, *labels], rows)
        told = []
        for place, (item, line) in enumerate(zip(items, lines, strict=True)):
            asks: list[tuple[str, str]] = []
            for column, head, of in zip(columns, heads, values, strict=True):
                asks += self._asks(column, head, item, of, place, shared, kind if headed else "")
            left = [
                rng.choice(column.asks).format_map(_fields(column.heads[0], item, shared))
                for column in rng.sample(missing, min(2, len(missing)))
                if "{role}" not in column.heads and not (item.told and column.about == _LOOK)
            ]
            questions = tuple((_capital(ask), answer) for ask, answer in asks)
            told.append(Told(line, questions, tuple(map(_capital, left))))
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
        title = _capital(rng.choice(titles))
        return rng.choice((f"## {title}", title, f"{title}:"))

    def _columns(self, kind: str, *, headed: bool) -> list[Column]:
        """Some columns, no two for one kind of value; without heads, such as values tell by themselves."""
        rng, found = self._rng, dict[str, Column]()
        known = [column for column in _COLUMNS[kind] if headed or not column.head]
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
            own = column.reverse is not _REVERSE
            reverse = rng.choice(column.reverse if own else _OTHERS.get(kind, _REVERSE))
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
        "It": _capital(it),
        "S": it,
        "them": item.them,
        "head": label,
        "first": label.partition(" ")[0],
        "N": noun or label,
    }


_Rows = Sequence[Sequence[str]]
_Style = Callable[[Random, Sequence[str], _Rows], tuple[str, list[str]]]


def _pipes(rng: Random, heads: Sequence[str], rows: _Rows) -> tuple[str, list[str]]:
    outer = rng.random() < 0.7
    drawn = [" | ".join(row) for row in (list(map(str.capitalize, heads)), *rows)]
    lines = [f"| {line} |" if outer else line for line in drawn]
    rule = ["|" + " --- |" * len(heads)] if outer else []
    return "\n".join([lines[0], *rule, *lines[1:]]), drawn[1:]


def _separated(rng: Random, heads: Sequence[str], rows: _Rows) -> tuple[str, list[str]]:
    sign = rng.choice((",", ",", ";", "\t", " / ", ", "))
    lines = [sign.join(row) for row in (heads, *rows)]
    return "\n".join(lines), [" | ".join(row) for row in rows]  # whose words stand apart


def _labelled(rng: Random, heads: Sequence[str], rows: _Rows) -> tuple[str, list[str]]:
    sign, between = rng.choice(((": ", ", "), (" – ", "; "), (": ", "; "), (", ", ", ")))
    mark = rng.choice(("", "- ", "* "))
    lines = [
        f"{mark}{_capital(item)}{sign}"
        + between.join(f"{head} {value}" for head, value in zip(heads[1:], values, strict=True))
        for item, *values in rows
    ]
    return "\n".join(lines), lines


def _records(rng: Random, heads: Sequence[str], rows: _Rows) -> tuple[str, list[str]]:
    form, under = rng.choice(
        (
            ("{H}: {V}", "## {I}\n"),
            ("{H}: {V}", "{I}\n"),
            ("{h}..... {V}", "{I}\n"),
            ("- {h}: {V}", "{I}:\n"),
        )
    )
    blocks = [
        under.format(I=_capital(item))
        + "\n".join(
            form.format(H=_capital(head), h=head, V=value)
            for head, value in zip(heads[1:], values, strict=True)
        )
        for item, *values in rows
    ]
    return "\n\n".join(blocks), blocks


def _plain(rng: Random, _: Sequence[str], rows: _Rows) -> tuple[str, list[str]]:
    sign, between = rng.choice(
        ((": ", ", "), (" – ", ", "), (", ", ", "), (" ", ", "), (": ", "; "), (", ", "; "))
    )
    mark = rng.choice(("", "", "- ", "* "))
    lines = [f"{mark}{_capital(item)}{sign}{between.join(values)}" for item, *values in rows]
    return "\n".join(lines), [line.removeprefix(mark) for line in lines]


def _bracketed(rng: Random, _: Sequence[str], rows: _Rows) -> tuple[str, list[str]]:
    mark = rng.choice(("", "- "))
    lines = [
        f"{mark}{_capital(item)}{rng.choice((' ', ': '))}{first}"
        + (f" ({', '.join(rest)})" if rest else "")
        for item, first, *rest in rows
    ]
    return "\n".join(lines), [line.removeprefix(mark) for line in lines]


_HEADED: tuple[_Style, ...] = (_pipes, _separated, _separated, _labelled, _records)
_BARE: tuple[_Style, ...] = (_plain, _plain, _bracketed)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
