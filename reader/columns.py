"""What lists say of their items: columns, how they are headed, and how people ask for what stands in them.

A column is asked for otherwise than it is headed ("place": "Where is the lamp?"). This file knows
wordings; it draws nothing and knows no row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reader.sayings import HOLDERS

LOOK = "look"
"""What colour, material and condition say something of, and an item's own adjective too."""
REVERSE = ("what has the {N} {V}?", "what has {V} as its {N}?")
"""Questions for whose cell it is, where a column has none of its own."""


@dataclass(frozen=True, slots=True)
class Column:
    """What a list says of each of its items.

    `heads` are ways to head it, each with the noun that an answer uses behind `=` where that is another.
    `asks` are questions about `{it}`, `reverse` ones for whose cell it is.
    """

    kind: str  # of its values: no list has two columns of one kind
    heads: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str = "The {N} of {it} is {V}."
    reverse: tuple[str, ...] = REVERSE
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
        about=LOOK,
    ),
    Column(
        "colour", ("colour",), ("what colour {is} {it}?", "which colour {is} {it}?"), about=LOOK
    ),
    Column(
        "state",
        ("condition", "state"),
        ("in what condition {is} {it}?", "what state {is} {it} in?"),
        reverse=("what is {V}?",),
        about=LOOK,
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
HEADS: Mapping[str, tuple[str, ...]] = {
    "thing": ("item", "what", "thing", "object", "name"),
    "several": ("what", "things", "item", "kind"),
    "person": ("name", "who", "person", "member"),
    "trip": ("to", "towards", "destination"),
}
"""What is above the items themselves, by what they are."""
OTHERS = {"person": ("who has the {N} {V}?",), "trip": ("where does one go with the {N} {V}?",)}
"""As `REVERSE`, of items that are no things."""
COLUMNS = {"thing": _THINGS, "several": _SEVERAL, "person": _PERSONS, "trip": _TRIPS}
VEHICLES = tuple(
    zip(
        "train bus ferry boat tram coach".split(),
        "trains buses ferries boats trams coaches".split(),
        strict=True,
    )
)
"""One and several."""
