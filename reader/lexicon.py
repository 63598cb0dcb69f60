"""The closed word lists of the world: nouns, verbs, adjectives, units.

Closed lists carry only what English fixes (how a verb bends, which unit measures what). Everything
that a question asks for comes from the open generators in `names.py`. This file knows no sentence.
"""

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb: base form, third person, past, participle."""

    base: str
    third: str
    past: str
    participle: str


_IRREGULAR = {
    "sell": Verb("sell", "sells", "sold", "sold"),
    "lead": Verb("lead", "leads", "led", "led"),
    "trim": Verb("trim", "trims", "trimmed", "trimmed"),
    "wrap": Verb("wrap", "wraps", "wrapped", "wrapped"),
}


def regular(words: str) -> list[Verb]:
    """Verbs that bend as most do, by their base forms."""
    verbs = []
    for base in words.split():
        if base in _IRREGULAR:
            verbs.append(_IRREGULAR[base])
        elif base.endswith("e"):
            verbs.append(Verb(base, base + "s", base + "d", base + "d"))
        elif base.endswith("y") and base[-2] not in "aeiou":
            verbs.append(Verb(base, base[:-1] + "ies", base[:-1] + "ied", base[:-1] + "ied"))
        elif base.endswith(("s", "x", "ch", "sh")):
            verbs.append(Verb(base, base + "es", base + "ed", base + "ed"))
        else:
            verbs.append(Verb(base, base + "s", base + "ed", base + "ed"))
    return verbs


AGENT_VERBS: list[Verb] = [
    *regular(
        "paint repair service inspect design restore open check measure clean order deliver sell "
        "install replace test approve sign donate discover photograph catalogue rename register "
        "insure rent guard manage maintain water prune polish tune assemble calibrate convert "
        "document fund launch mark move name print record renew sponsor survey translate varnish "
        "weld wire test furnish decorate plaster tile carve forge load unload audit close lead "
        "conduct organise prepare supervise train visit wash weigh label pack plant harvest "
        "cover collect borrow finish start accept adjust align anchor arrange balance brush "
        "charge copy dust empty engrave fasten fill fix heat hire lock lower lubricate oil patch "
        "pick place pump raise reject remove report review rinse rotate seal shorten sort stamp "
        "store supply trim tighten turn unpack update upgrade value warm wrap"
    ),
    Verb("build", "builds", "built", "built"),
    Verb("make", "makes", "made", "made"),
    Verb("buy", "buys", "bought", "bought"),
    Verb("find", "finds", "found", "found"),
    Verb("draw", "draws", "drew", "drawn"),
    Verb("write", "writes", "wrote", "written"),
    Verb("keep", "keeps", "kept", "kept"),
    Verb("lay", "lays", "laid", "laid"),
    Verb("cut", "cuts", "cut", "cut"),
    Verb("set up", "sets up", "set up", "set up"),
    Verb("look after", "looks after", "looked after", "looked after"),
    Verb("take over", "takes over", "took over", "taken over"),
    Verb("pay for", "pays for", "paid for", "paid for"),
]

PLACED = (
    "kept stored parked hidden buried displayed hung housed moored mounted locked placed found "
    "filed shelved planted installed located anchored archived put laid left held docked built"
).split()

SCHEDULED: list[Verb] = [
    *regular(
        "open close start finish depart arrive return rehearse end resume pass pause gather ring"
    ),
    Verb("meet", "meets", "met", "met"),
    Verb("leave", "leaves", "left", "left"),
    Verb("begin", "begins", "began", "begun"),
    Verb("run", "runs", "ran", "run"),
    Verb("take place", "takes place", "took place", "taken place"),
]

OBJECT_VERBS: list[Verb] = [
    *regular(
        "carry contain need use produce include cover show serve offer support require burn "
        "collect play protect receive replace supply print measure display export import like"
    ),
    Verb("sell", "sells", "sold", "sold"),
    Verb("make", "makes", "made", "made"),
    Verb("grow", "grows", "grew", "grown"),
    Verb("sing", "sings", "sang", "sung"),
    Verb("hold", "holds", "held", "held"),
    Verb("teach", "teaches", "taught", "taught"),
    Verb("bring", "brings", "brought", "brought"),
    Verb("wear", "wears", "wore", "worn"),
    Verb("get", "gets", "got", "got"),
]

PERSON_NOUNS = (
    "captain owner keeper founder director treasurer architect engineer inspector designer "
    "builder secretary conductor gardener mayor chair sponsor manager curator landlord tenant "
    "caretaker cook driver editor guardian head heir librarian mechanic navigator officer "
    "patron pilot president principal printer supervisor teacher trainer warden donor author "
    "auditor buyer clerk coach deputy doctor spokesman steward surveyor watchman rival successor "
    "predecessor contractor agent lawyer nurse painter janitor operator dealer host accountant"
).split()

PLACE_NOUNS = (
    "home port|birthplace|headquarters|destination|depot|place of origin|registered office|"
    "workshop|nearest town|winter quarters|branch office|berth|source|capital|venue|storage site|"
    "landing place|meeting place|terminus|quarry"
).split("|")

DATE_NOUNS = (
    "opening date|expiry date|founding date|delivery date|launch date|deadline|date of birth|"
    "inspection date|renewal date|completion date|next service|start date|closing date|"
    "anniversary|date of purchase|last repair|date of arrival|warranty end|due date"
).split("|")

MEASURE_NOUNS: dict[str, tuple[str, ...]] = {
    "weight": ("kg", "tonnes", "grams", "pounds"),
    "length": ("metres", "feet", "cm", "km"),
    "height": ("metres", "feet", "cm"),
    "width": ("metres", "cm", "mm"),
    "depth": ("metres", "cm"),
    "price": ("euros", "pounds", "dollars", "crowns"),
    "annual rent": ("euros", "pounds", "dollars"),
    "monthly fee": ("euros", "pounds", "dollars"),
    "deposit": ("euros", "pounds", "dollars"),
    "budget": ("euros", "dollars", "crowns"),
    "capacity": ("litres", "seats", "tonnes", "gallons"),
    "range": ("km", "miles"),
    "top speed": ("km per hour", "knots", "miles per hour"),
    "power": ("watts", "kilowatts"),
    "voltage": ("volts",),
    "pressure": ("bar",),
    "temperature": ("degrees",),
    "age": ("years", "months"),
    "warranty": ("months", "years"),
    "notice period": ("days", "weeks", "months"),
    "population": ("people",),
    "area": ("hectares", "acres"),
    "battery life": ("hours", "days"),
    "term": ("years", "months"),
    "duration": ("minutes", "hours"),
}

MEASURES: list[tuple[str, str, tuple[str, ...]]] = [
    ("weigh", "weighs", ("kg", "tonnes", "grams", "pounds")),
    ("cost", "costs", ("euros", "pounds", "dollars", "crowns")),
    ("hold", "holds", ("litres", "gallons", "tonnes")),
    ("measure", "measures", ("metres", "cm", "feet")),
    ("last", "lasts", ("minutes", "hours", "days")),
    ("earn", "earns", ("euros", "pounds", "dollars")),
    ("use", "uses", ("litres", "watts", "kilowatts")),
    ("produce", "produces", ("kg", "litres", "tonnes")),
]

CODE_NOUNS = (
    "serial number|registration|room number|account number|call sign|part number|model|"
    "catalogue number|phone number|licence number|shelf mark|reference|key code|invoice number|"
    "case number|locker number|policy number|tracking number"
).split("|")

THING_NOUNS = (
    "colour|material|emblem|motto|fuel|crop|instrument|dish|prize|nickname|hobby|cargo|symbol|"
    "specialty|main product|favourite food|mascot|finish|flag|language|trade|profession|pet|"
    "subject|style|theme|ingredient|tool|uniform|door colour|roof material|first prize|gift|"
    "soil|variety|status|rating|title|purpose|brand|type|diet|treatment|complaint|allergy|habitat"
).split("|")

COUNTED = (
    "windows doors rooms beds members seats engines wheels shelves keys boats horses trees rows "
    "pages chapters maps students workers branches tables lamps steps floors towers bells guests "
    "hives benches cables ports drawers crates masts cabins sails barrels volumes paintings pumps "
    "valves fans tanks gates bridges ovens hens goats singers players teams prizes lockers desks"
).split()

PARTS = (
    "gate boiler kitchen roof bell pump engine archive garden cellar tower ladder window clock "
    "door bridge office library stable workshop well lamp mast hull anchor cabin deck oven barn "
    "orchard fence chimney stair hall chapel motor filter battery keyboard sensor cable screen "
    "lens valve tank crane furnace mill pond wall map register contract lease invoice ledger "
    "report manual catalogue flag statue portrait organ piano choir team committee course class "
    "ward clinic pharmacy kennel greenhouse shed boat van truck bus tram lift corridor terrace "
    "balcony studio vault safe shop bakery canteen museum theatre stage curtain carpet mirror "
    "cupboard shelf desk table bench chair bed rug stove heater fridge freezer printer server "
    "router camera telescope microscope drill lathe saw press loom forge kiln hedge lawn path "
    "fountain rose bush apple tree compost heap beehive hen house playground car park bike rack"
).split()

ADJECTIVES = (
    "north south east west upper lower old new red green blue white black grey small large great "
    "little main rear front inner outer left right first second third spare wooden stone iron "
    "copper glass brass winter summer spring autumn morning evening central private public royal "
    "long short narrow wide high low heavy light dark bright quiet round square broken painted "
    "hidden hollow steep guest reserve temporary medical electric manual silver golden yellow "
    "brown purple orange ancient modern junior senior annual weekly daily"
).split()

MATERIALS = (
    "oak pine ash elm birch walnut copper brass iron steel tin lead silver gold glass clay slate "
    "granite marble sandstone brick leather wool linen cotton silk paper wax amber ivory coal salt "
    "barley wheat rye oats apples pears plums cherries honey cheese butter bread herring salmon "
    "trout mussels tea coffee pepper cinnamon violin flute harp drum trumpet falcon heron otter "
    "badger fox wolf bear stag lion eagle raven owl swan anchor star crown key wheel rose lily "
    "thistle fern ivy moss lantern candle rope barrel basket kettle hammer chisel needle compass "
    "map coin button ribbon feather shell pearl stone songs hymns waltzes letters poems maps tiles"
).split()

ROLES_OF_ENTITY: dict[str, tuple[str, ...]] = {
    "ship": ("the {0}", "the ship {0}", "the {0} ferry"),
    "building": ("{0} House", "{0} Hall", "the {0} tower", "{0} Mill", "{0} Lodge"),
    "firm": ("{0} & Sons", "{0} Works", "the {0} company", "{0} Bakery", "{0} Press"),
    "club": ("the {0} Choir", "the {0} Club", "the {0} Society", "the {0} team"),
    "device": ("the {0} press", "the {0} drone", "the {0} scanner", "the {0} pump"),
    "village": ("{0}", "the village of {0}", "{0} Bay", "Port {0}"),
    "garden": ("the {0} garden", "{0} Park", "the {0} orchard", "{0} Farm"),
    "contract": ("the {0} lease", "the {0} contract", "the {0} agreement"),
    "school": ("{0} School", "the {0} clinic", "the {0} museum", "{0} College"),
    "expedition": ("the {0} expedition", "the {0} project", "the {0} festival"),
}

FIRST_NAMES = (
    "Anna Bela Carl Dora Emil Franz Greta Hugo Ines Jakob Klara Leo Mira Nils Olga Paul Rosa "
    "Stefan Theo Ursula Viktor Wanda Yusuf Zoe Amir Bruno Cecilia Daniel Elena Fatima Georg "
    "Hanna Ivan Julia Kamal Lucia Martin Nadia Oscar Petra Quentin Rita Samuel Tessa Ulrich "
    "Vera Walter Xenia Yara Zeno Adam Beatrice Conrad Diana Erik Fiona Gustav Helen Igor Johanna "
    "Kurt Lena Marco Nora Otto Priya Rafael Sofia Tom Uma Vincent Wilma Aisha Boris Chloe Dennis"
).split()

MONTHS = (
    "January February March April May June July August September October November December"
).split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

PREPOSITIONS = "in|behind|under|near|beside|above|next to|opposite|inside|outside|at|on".split("|")

# What may stand before a verb without changing the fact. The wordings of evaluation use others, `always`
# among them: in place of an adverb it would spell one of them out.
ADVERBS = (
    "last first now still mostly once later also just "
    "really currently originally probably eventually quickly especially actually nearly "
    "previously immediately generally slowly mostly completely initially particularly "
    "suddenly simply directly subsequently slightly mainly recently highly formerly shortly "
    "fully primarily officially typically easily commonly widely possibly largely newly "
    "respectively clearly entirely barely apparently heavily relatively frequently briefly "
    "ultimately closely specifically certainly successfully quietly extremely softly gently "
    "carefully obviously notably roughly regularly truly seriously additionally occasionally "
    "definitely rapidly strongly totally deeply increasingly formally gradually merely "
    "effectively rarely greatly partly annually badly similarly perfectly hardly literally "
    "partially instantly absolutely historically fairly locally publicly reportedly tightly "
    "surely exclusively essentially personally constantly properly firmly equally extensively "
    "naturally practically temporarily physically lightly repeatedly namely silently "
    "permanently consequently actively severely virtually privately abruptly sharply "
    "potentially necessarily allegedly seemingly accidentally solely nationally desperately "
    "safely honestly considerably lately loudly deliberately strictly poorly secretly openly "
    "legally politically separately freely basically mentally presumably supposedly jointly "
    "precisely continuously consistently surprisingly technically "
).split()

# Other words for the same thing, for questions: the sentence that answers uses the listed noun.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "captain": ("skipper", "commander"),
    "owner": ("proprietor", "possessor"),
    "keeper": ("custodian",),
    "founder": ("originator",),
    "director": ("boss",),
    "treasurer": ("cashier",),
    "designer": ("planner",),
    "mayor": ("head of the town",),
    "chair": ("chairperson",),
    "sponsor": ("backer",),
    "landlord": ("lessor",),
    "tenant": ("lessee", "occupant"),
    "caretaker": ("janitor on duty",),
    "cook": ("chef",),
    "driver": ("chauffeur",),
    "guardian": ("protector",),
    "heir": ("inheritor",),
    "pilot": ("aviator",),
    "teacher": ("instructor",),
    "donor": ("benefactor", "giver"),
    "author": ("writer",),
    "buyer": ("purchaser",),
    "deputy": ("second in command",),
    "doctor": ("physician",),
    "watchman": ("night guard",),
    "rival": ("competitor",),
    "lawyer": ("attorney", "solicitor"),
    "painter": ("decorator",),
    "dealer": ("trader",),
    "accountant": ("bookkeeper",),
    "home port": ("harbour it calls home",),
    "birthplace": ("place of birth",),
    "headquarters": ("head office",),
    "destination": ("place it is bound for",),
    "place of origin": ("place it comes from",),
    "capital": ("chief town",),
    "venue": ("place of the event",),
    "storage site": ("place where it is kept",),
    "opening date": ("day of opening",),
    "expiry date": ("day on which it runs out",),
    "founding date": ("day of the foundation",),
    "launch date": ("day of the launch",),
    "deadline": ("latest possible date",),
    "date of birth": ("birthday",),
    "completion date": ("day it was finished",),
    "start date": ("first day",),
    "closing date": ("last day",),
    "date of purchase": ("day it was bought",),
    "last repair": ("day it was last mended",),
    "date of arrival": ("day it arrived",),
    "weight": ("mass",),
    "price": ("cost",),
    "annual rent": ("sum due every year",),
    "monthly fee": ("sum due every month",),
    "deposit": ("security paid",),
    "budget": ("money set aside",),
    "top speed": ("greatest velocity",),
    "warranty": ("guarantee",),
    "population": ("number of inhabitants",),
    "area": ("surface",),
    "term": ("period agreed",),
    "duration": ("time it takes",),
    "colour": ("hue",),
    "emblem": ("badge",),
    "motto": ("guiding words",),
    "nickname": ("pet name",),
    "hobby": ("pastime",),
    "cargo": ("freight",),
    "specialty": ("strong point",),
    "dish": ("meal",),
    "trade": ("craft",),
    "profession": ("occupation",),
    "gift": ("present",),
    "purpose": ("aim",),
    "brand": ("make",),
    "complaint": ("ailment",),
}

# Words that say nothing of what a sentence is about.
FUNCTION_WORDS = frozenset(
    "a about above after again all also although always am an and another any are as at be became "
    "because been before being below between both but by can could did do does down during each "
    "either else even ever every few for from had has have having he her here hers him his how if "
    "in into is it its itself just may me might more most much must my no nor not now of off often "
    "on once one only onto or other our out over own per please same several shall she should since "
    "so some still such than that the their them then there these they this those though through "
    "thus to too toward under unless until up upon us very via was we well were what when where "
    "whether which while who whom whose why will with within without would yet you your".split()
)
