"""How a fact is stated, asked for and answered, in plain English.

A wording is a template over a fact's fields: `{S}` subject, `{V}` value, `{N}` noun, `{adv}` adverb or
nothing, `{past}`, `{third}`, `{base}`, `{part}` verb forms. Wordings are split: those listed under
EVAL never stand in one of training. The answer to a question is one sentence that restates what was asked
before it gives the value, so that the value is found by matching what has just been said. This file
knows templates alone; `world.py` chooses facts.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """The wordings of one kind of fact; `passive` answers the questions that use the participle."""

    statements: tuple[str, ...]
    eval_statements: tuple[str, ...]
    questions: tuple[str, ...]
    eval_questions: tuple[str, ...]
    answer: str
    passive: str = ""


def _spread(template: str, **choices: str) -> tuple[str, ...]:
    """The template with every combination of choices (separated by `|`); `{S}` and the like stay."""
    spread = [template]
    for name, options in choices.items():
        spread = [t.replace(f"<{name}>", option) for t in spread for option in options.split("|")]
    return tuple(spread)


_BE = "is|was|remains|stays|reads|became|will be|must be|is still|has been|is indeed|is of course"
_ABOUT = (
    "For|As for|About|Regarding|Concerning|At|In|On|When it comes to|Looking at|Speaking of|"
    "In the case of|Among the details of|In all papers on|According to the file on|Beside|Below|Under|"
    "Behind|Near|Along|Inside|Beyond|Within|Without|Against|Towards|Around|Across|Throughout|Despite|"
    "Like|Unlike|Through|After|Before|Since|Per|Via|Over|To|From|By|Next to|Thanks to|Apart from|"
    "Except for|Close to|Instead of|Because of|Together with|Along with|Beneath|Amid|Upon|Opposite|"
    "With regard to|With respect to"
)
_OF = (
    "of|in|at|on|given for|listed for|recorded for|we have for|belonging to|that goes to|known from|"
    "chosen for|shown for|entered for"
)
_BEEN = (
    "was|had been|got|was at last|was in fact|is known to have been|must have been|was once|"
    "was soon|came to be|was to be|used to be|were"
)
_INDIRECT = (
    "Tell me|Do you know|I need to know|Find out|Can you tell me|I wonder|May I ask|Let me know|"
    "I would like to know|It would help to know|Please look up|Could you say|Remind me|Explain|"
    "We have to find out|Does the text say|Check|The question is|Say it plainly:|Say, please,|"
    "Just say in a word"
)
_ACTS = (
    "acts as|serves as|is|was|has been|stands in as|has the job of|fills the post of|is employed as|"
    "was hired as|is engaged as|functions as|appears as|is named as|was made|is listed as|signs as|"
    "is registered as|goes as|counts as|helps out as|is paid as|was chosen as|is known as"
)
# Whatever stands between "who" and the post, it is the post that is asked for.
_BUSY = (
    "is busy as|earns a living as|is active as|volunteers as|toils as|started out as|retired as|"
    "trained as|qualifies as|stays on as|carries on as|does duty as|is at work as|labours as|"
    "is on the books as|gets paid as|runs things as|deputises as|is in office as|is happy as|travels as|"
    "came in as|walks about as|succeeded as|plays the part of|writes as|helps as|began as|lives as"
)
_BORNE = (
    "is borne by|is used by|was given to|stands beside|is linked to|is on the door of|refers to|"
    "denotes|is attached to|points to|is carried by|is written for|falls to|was put down for|fits|"
    "is due to|comes with|is held by|is signed by|identifies|must be that of|we know for|is given to"
)
# Between "is" and a name stands whatever may: who reads over it finds the name.
_KNOWN = (
    "a certain|none other than|still|now|again|known as|none but|of course|first|styled|titled|dubbed|"
    "christened|spelt|signed|listed as|entered as|given as|registered as|addressed as|referred to as|"
    "remembered as|introduced as|announced as|a person called|somebody called|one|our friend|our own|"
    "the famous|the well-known|old|young|simply|just|merely|truly|in truth|officially|at present|currently|"
    "by now|once more|as before|as ever|nowadays|said to be|thought to be|believed to be|described as|"
    "written as|down as|given the name|for the moment|as all know|it seems|without doubt|by chance|"
    "recorded as|marked as|shown as|chosen as|billed as|quoted as|hailed as|identified as|on paper"
)
_MARK = "really|in fact|precisely|then|on average|actually|in the end|roughly|these days|again"
_ABOUT_AS_MUCH = (
    "about|roughly|nearly|at least|at most|some|just under|just over|a good|close to|precisely|up to|"
    "no more than|not quite|as much as"
)
_OPENING = (
    "At present|Among other things|In general|On Sundays|In winter|From now on|In practice|All in all|"
    "In any case|At any rate|Year after year|As a matter of course|Unless told otherwise|This season"
)
_HOLDS = (
    "owns|counts|features|numbers|boasts|still has|"
    "now has|once had|has always had|is made up of|consists of|works with|is equipped with|runs to|"
    "is said to have|must have|has just|has a total of|has only"
)
_PERSON = "person|man or woman|individual|human being|party|somebody"


def _asked(clause: str) -> tuple[str, ...]:
    """Indirect questions: `clause` behind the many ways in which people ask."""
    marks = {"Do", "Can", "May", "Could", "Does"}
    return tuple(
        f"{start} {clause}{'?' if start.split()[0] in marks else '.'}"
        for start in _INDIRECT.split("|")
    )


# Frequent wordings stand several times.
_ATTRIBUTE_STATEMENTS = (
    *_spread("<about> {S}, the {N} <be> {V}.", about=_ABOUT, be="is|is|was|remains|will be"),
    *_spread("The {N} <of> {S} <be> {V}.", of=_OF, be=_BE) * 2,
    *_spread("{S}'s {N} <be> {V}.", be=_BE),
    *_spread("<about> {S}, its {N} <be> {V}.", about=_ABOUT, be="is|was"),
    *("The {N} of {S} is {V}.",) * 100,
    *("{S}'s {N} is {V}.",) * 50,
    *("{V} is the {N} of {S}.",) * 12,
    *("{S} has this {N}: {V}.", "{S} has {V} as its {N}.", "{S} has the {N} {V}.") * 3,
    *("{S} ({N}: {V}).", "{S}: {N} {V}.", "{S}, {N}: {V}.", "{N} of {S}: {V}.") * 4,
    *("{S}, whose {N} is {V}, is well known.", "The {N} that {S} has is {V}.") * 3,
)
_ATTRIBUTE_QUESTIONS = (
    *("What is the {N} of {S}?",) * 16,
    *("What is {S}'s {N}?",) * 8,
    *_asked("what the {N} of {S} is"),
    # Whatever the question's preposition, the answer says "of".
    *_spread(
        "What is the {N} <of> {S}?", of="at|with|in|given for|on file for|recorded for|belonging to"
    ),
    *_spread("What is <given> the {N} of {S}?", given="known as|said to be|stated as|listed as"),
    "What's the {N} of {S}?",
    "What was the {N} of {S}?",
    "What {N} does {S} have?",
    "Which {N} does {S} have?",
    "What is the {N} that {S} has?",
    "What {N} has {S}?",
    "What {N} is given for {S}?",
    "Which {N} is listed for {S}?",
    "Tell me the {N} of {S}.",
    "Tell me about {S}: what is the {N}?",
    "Name the {N} of {S}.",
    "State {S}'s {N}.",
    "Find the {N} of {S}.",
    "Look up the {N} of {S}.",
    "For {S}, what is the {N}?",
    "As for {S}, what is the {N}?",
    "In the case of {S}, which {N} is it?",
    "I need the {N} of {S}.",
    "I would like to know the {N} of {S}.",
    "Give {S}'s {N}.",
    "The {N} of {S} is what?",
    "{N} of {S}?",
    "What does the text give as the {N} of {S}?",
    "What can you say about the {N} of {S}?",
    "Do you know the {N} of {S}?",
    "Is there a {N} for {S}, and what is it?",
)

RELATIONS: dict[str, Relation] = {
    "attribute": Relation(
        _ATTRIBUTE_STATEMENTS,
        ("The {N} for {S} is {V}.", "What {S} has as its {N} is {V}."),
        _ATTRIBUTE_QUESTIONS,
        ("What is the {N} for {S}?", "What is given as the {N} of {S}?"),
        "The {N} of {S} is {V}.",
    ),
    "holder": Relation(
        (
            *_ATTRIBUTE_STATEMENTS,
            *_spread(
                "The {N} <of> {S} <be> called {V}.",
                of="of|of|in|at|on|listed for",
                be="is|was|is usually|has been",
            ),
            *_spread(
                "The {N} <of> {S} <be> <known> {V}.",
                of="of|of|at",
                be="is|was",
                known=_KNOWN,
            ),
            *_spread("{S}'s {N} is <known> {V}.", known=_KNOWN),
            *_spread("{V} <acts> {N} of {S}.", acts=_ACTS),
            *("{V} is the {N} of {S}.",) * 60,
            *("{V} serves as {N} of {S}.", "{V} is {N} of {S}.", "{V} is {S}'s {N}.") * 20,
            "{V} is the {N} at {S}.",
            "The {N} of {S} goes by the name of {V}.",
            "As {N} of {S} we have {V}.",
            "The post of {N} of {S} is held by {V}.",
            "Ask for {V}, the {N} of {S}.",
        ),
        ("The {N} for {S} is {V}.", "The {N} of {S} is named {V}."),
        (
            *("Who is the {N} of {S}?",) * 30,
            *("Who is {S}'s {N}?",) * 12,
            *_asked("who the {N} of {S} is"),
            *_asked("who serves as {N} of {S}"),
            *_spread("Who <acts> {N} of {S}?", acts=f"{_ACTS}|{_BUSY}"),
            *_spread("Which <man> <acts> {N} of {S}?", man="person|employee", acts=_BUSY),
            *_spread("<what> name <borne> the {N} of {S}?", what="Which|Which|What", borne=_BORNE),
            *_ATTRIBUTE_QUESTIONS[16:],
            "Who was the {N} of {S}?",
            "Who serves as {N} of {S}?",
            "Who acts as {N} of {S}?",
            "Who is employed as {N} of {S}?",
            "Who do they have as {N} of {S}?",
            *_spread(
                "Which name <has> the {N} of {S}?", has="has|is that of|is given for|goes with"
            ),
            *_spread(
                "Who <holds> of {N} of {S}?", holds="holds the post|has the job|fills the post"
            ),
            "By what name is the {N} of {S} known?",
            "Whose name is given for the {N} of {S}?",
            "Whom does {S} have as its {N}?",
            "Who is it that is {N} of {S}?",
            *_spread("Who <does> {S} and works there as {N}?", does="is at|belongs to|is with"),
            "Who works for {S}, as {N}?",
            *_spread("What <be> the {N} of {S} called by all?", be="is|was"),
            *_asked("what the {N} of {S} is called"),
            "What is the {N} of {S} known as?",
            "What name has the {N} of {S}?",
            "What do people call the {N} of {S}?",
            "Who is {N} of {S}?",
            "Who is {N} at {S}?",
            "Who is the {N} for {S}?",
            "What is the name of the {N} of {S}?",
            "What is {S}'s {N} named?",
            "Tell me who the {N} of {S} is.",
            "Do you know who the {N} of {S} is?",
            "Which person is the {N} of {S}?",
            "Who has the post of {N} of {S}?",
            "The {N} of {S} is who?",
        ),
        ("Who works as {N} of {S}?", "Which name belongs to the {N} of {S}?"),
        "The {N} of {S} is {V}.",
    ),
    "agent": Relation(
        (
            *_spread("{S} <been> {adv}{part} by {V}.", been=_BEEN) * 2,
            *("{S} was {adv}{part} by {V}.",) * 12,
            *("{V} {adv}{past} {S}.",) * 14,
            "The person who {adv}{past} {S} is {V}.",
            "The person that {past} {S} was {V}.",
            "It was {V} who {adv}{past} {S}.",
            "{S} had been {adv}{part} by {V}.",
            "{S}, {part} by {V}, is well known.",
            "{S} got {adv}{part} by {V}.",
            "We know that {S} was {part} by {V}.",
            "{S} was {part} only once, by {V}.",
            "{S} was {part} by {V} and nobody else.",
            "{S} ({part} by {V}).",
            "{S} was the work of many, but it was {part} by {V}.",
        ),
        ("{S} has been {adv}{part} by {V}.", "The one who {adv}{past} {S} is {V}."),
        (
            *("Who {past} {S}?",) * 16,
            *_asked("who {past} {S}"),
            *_spread("Which <person> {past} {S}?", person=_PERSON),
            *_spread("Name the <person> who {past} {S}.", person=_PERSON),
            "Who {adv}{past} {S}?",
            "By whom was {S} {part}?",
            "By whom was {S} {adv}{part}?",
            "Who was it that {past} {S}?",
            "Who was it who {past} {S}?",
            "Tell me who {past} {S}.",
            "Do you know who {past} {S}?",
            "I need to know who {past} {S}.",
            "Find out who {past} {S}.",
            "Which person {past} {S}?",
            "What is the name of the person who {past} {S}?",
            "Name the person who {past} {S}.",
            "Give the name of whoever {past} {S}.",
            *_spread(
                "<which> that {past} {S}?", which="Which one is it|Who is the one|What person is it"
            ),
            "Name the one person who {past} {S}.",
            "Who is said to be the one that {past} {S}?",
            "Which man or woman {past} {S}?",
            "Who was {S} {part} by?",
            "{S} was {part} by whom?",
            "{S} was {part} by which person?",
        ),
        ("Who is the person that {past} {S}?", "Name the one who {past} {S}."),
        "The person who {past} {S} is {V}.",
        "{S} was {part} by {V}.",
    ),
    "habit": Relation(
        (
            *_spread("{S} <be> {adv}{part} by {V}.", be="gets|is also|is still|is now|is being"),
            *("{S} is {part} by {V}.",) * 8,
            *("{V} {third} {S}.",) * 10,
            "The person who {third} {S} is {V}.",
            "The person that {third} {S} is {V}.",
            "{S} is {part} by {V} every week.",
            "{S} is {adv}{part} by {V}.",
            "{V} {adv}{third} {S}.",
            "It is {V} who {third} {S}.",
            "{S} gets {part} by {V}.",
            "{S} is {part} on most days by {V}.",
            "Every year {S} is {part} by {V}.",
        ),
        ("{S} is always {part} by {V}.", "The one who {third} {S} is {V}."),
        (
            *("Who {third} {S}?",) * 16,
            *_asked("who {third} {S}"),
            *_spread("Which <person> {third} {S}?", person=_PERSON),
            *_spread("Name the <person> who {third} {S}.", person=_PERSON),
            "Who {adv}{third} {S}?",
            "By whom is {S} {part}?",
            "Who is it that {third} {S}?",
            "Who is it who {third} {S}?",
            "Tell me who {third} {S}.",
            "Do you know who {third} {S}?",
            "I need to know who {third} {S}.",
            "Which person {third} {S}?",
            "What is the name of the person who {third} {S}?",
            "Name the person who {third} {S}.",
            "Give the name of whoever {third} {S}.",
            *_spread(
                "<which> that {third} {S}?",
                which="Which one is it|Who is the one|What person is it",
            ),
            "Name the one person who {third} {S}.",
            "Which man or woman {third} {S}?",
            "Who is {S} {part} by?",
            "{S} is {part} by whom?",
        ),
        ("Who is the person that {third} {S}?", "Name the one who {third} {S}."),
        "The person who {third} {S} is {V}.",
        "{S} is {part} by {V}.",
    ),
    "when": Relation(
        (
            *_spread("{S} <been> {adv}{part} on {V}.", been=_BEEN),
            *("{S} was {part} on {V}.",) * 8,
            "{S} was {adv}{part} on {V}.",
            "On {V}, {S} was {part}.",
            "On {V} {S} was {adv}{part}.",
            "{S} had been {part} on {V}.",
            "{S} got {part} on {V}.",
            "{S} was {part} by experts on {V}.",
            "{S} ({part} on {V}).",
            "It was on {V} that {S} was {part}.",
            "We know that {S} was {part} on {V}.",
        ),
        ("{S} has been {part} on {V}.", "{S} was finally {part} on {V}."),
        (
            *("When was {S} {part}?",) * 12,
            *_asked("when {S} was {part}"),
            *_asked("on which date {S} was {part}"),
            "When was {S} {adv}{part}?",
            "On which date was {S} {part}?",
            "On what day was {S} {part}?",
            "On what date was {S} {part}?",
            "Which day was {S} {part} on?",
            "What was the day on which {S} was {part}?",
            "What is the day on which {S} was {part}?",
            "What is the exact date when {S} was {part}?",
            "What day was it that {S} was {part}?",
            "What date is given, the one {S} was {part} on?",
            "Tell me when {S} was {part}.",
            "Do you know when {S} was {part}?",
            "I need to know when {S} was {part}.",
            "When exactly was {S} {part}?",
            "{S} was {part} when?",
        ),
        ("What is the date on which {S} was {part}?", "What date was {S} {part} on?"),
        "{S} was {part} on {V}.",
    ),
    "where": Relation(
        (
            *_spread("{S} <be> {adv}{part} {V}.", be="is|was|gets|has been|is still|will be"),
            *("{S} is {part} {V}.",) * 6,
            "{S} is always {part} {V}.",
            "{S} is {adv}{part} {V}.",
            "You will find {S} {part} {V}.",
            "You can see {S} {part} {V}.",
            "Everybody finds {S} {part} {V}.",
            "Whoever looks for it finds {S} {part} {V}.",
            "{S} is now {part} {V}.",
            "{S} has been {part} {V} for years.",
            "We saw {S} {part} {V}.",
            "We know that {S} is {part} {V}.",
        ),
        ("{S} is usually {part} {V}.", "One finds {S} {part} {V}."),
        (
            *("Where is {S} {part}?",) * 10,
            *_asked("where {S} is {part}"),
            *_asked("in which place {S} is {part}"),
            "Where exactly is {S} {part}?",
            "Where is {S} {adv}{part}?",
            "In which place is {S} {part}?",
            "In what place is {S} {part}?",
            "Tell me where {S} is {part}.",
            "Do you know where {S} is {part}?",
            "I need to know where {S} is {part}.",
            "{S} is {part} where?",
        ),
        ("At which place is {S} {part}?", "What is the place where {S} is {part}?"),
        "{S} is {part} {V}.",
    ),
    "schedule": Relation(
        (
            *("{S} {third} {V}.",) * 12,
            "{S} usually {third} {V}.",
            *("{S} {adv}{third} {V}.",) * 8,
            *_spread("<opening> {S} {third} {V}.", opening=_OPENING),
            "We know that {S} {third} {V}.",
        ),
        ("{S} normally {third} {V}.", "This year {S} {third} {V}."),
        (
            *("When does {S} {base}?",) * 10,
            *_asked("when {S} {third}"),
            *_spread("When <mark> does {S} {base}?", mark=_MARK),
            "When does {S} {adv}{base}?",
            "At what time does {S} {base}?",
            "On which day does {S} {base}?",
            "On what day does {S} {base}?",
            "Tell me when {S} {third}.",
            "Do you know when {S} {third}?",
            "I need to know when {S} {third}.",
            "{S} {third} when?",
        ),
        ("When exactly does {S} {base}?", "What is the time when {S} {third}?"),
        "{S} {third} {V}.",
    ),
    "object": Relation(
        (
            *("{S} {third} {V}.",) * 12,
            "What {S} {third} is {V}.",
            "{S} mostly {third} {V}.",
            "{S} always {third} {V}.",
            *("{S} {adv}{third} {V}.",) * 8,
            "We know that {S} {third} {V}.",
            *_spread("<opening> {S} {third} {V}.", opening=_OPENING),
            *_spread("{S} {third} <only> {V}.", only="only|mainly|nothing but|just|first of all"),
        ),
        ("{S} often {third} {V}.", "Above all {S} {third} {V}."),
        (
            *("What does {S} {base}?",) * 10,
            *_asked("what {S} {third}"),
            *_spread("What <mark> does {S} {base}?", mark=_MARK),
            "What does {S} {adv}{base}?",
            "What is it that {S} {third}?",
            "What is the thing that {S} {third}?",
            "Tell me what {S} {third}.",
            "Do you know what {S} {third}?",
            "I need to know what {S} {third}.",
            "{S} {third} what?",
        ),
        ("What exactly does {S} {base}?", "Which thing is it that {S} {third}?"),
        "{S} {third} {V}.",
    ),
    "count": Relation(
        (
            *("{S} has {V} {N}.",) * 20,
            *("There are {V} {N} in {S}.",) * 6,
            *_spread("{S} <holds> {V} {N}.", holds=_HOLDS),
            *_spread("{S} has <much> {V} {N}.", much=_ABOUT_AS_MUCH),
            *_spread("<opening> {S} has {V} {N}.", opening=_OPENING),
            *_spread("<about> {S}, there are {V} {N}.", about=_ABOUT),
            *_spread("There <are> {V} {N} <of> {S}.", are="are|were|have been", of="at|in|on|with"),
            *("The {N} of {S} number {V}.", "Of {N}, {S} has {V}.", "{N} of {S}: {V}.") * 3,
            *(
                "{S}: {V} {N}.",
                "{S} ({V} {N}).",
                "{S}, {N}: {V}.",
                "{S}, with {V} {N}, is well known.",
            )
            * 3,
            *("{V} is the number of {N} of {S}.", "{V} {N} are found in {S}.") * 3,
            "In all, {S} has {V} {N}.",
            *("{S} {adv}has {V} {N}.",) * 3,
            "{S} has got {V} {N}.",
            "{S} comes equipped with {V} {N}.",
            "{S}, all told, has {V} {N}.",
            "{S} has {V} {N} in all.",
            "The number of {N} of {S} is {V}.",
            "{V} {N} belong to {S}.",
            "We know that {S} has {V} {N}.",
        ),
        ("{S} comes with {V} {N}.", "Altogether {S} has {V} {N}."),
        (
            *("How many {N} does {S} have?",) * 10,
            *_asked("how many {N} {S} has"),
            *_spread("How many {N} <mark> does {S} have?", mark=_MARK),
            *_spread(
                "How many {N} <are> {S}?",
                are="are in|belong to|are counted in|are there at|go with",
            ),
            *_spread("{S} <holds> how many {N}?", holds="owns|counts|features|numbers"),
            *("{S}: how many {N}?", "For {S}, how many {N}?", "{N} of {S}: how many?") * 2,
            "How many are the {N} of {S}?",
            "Count the {N} of {S}.",
            "In {S}, how many {N} are there?",
            "What is {S}'s number of {N}?",
            "How many {N} does the text give {S}?",
            "What is the number of {N} of {S}?",
            "How many {N} are there in {S}?",
            "How many {N} belong to {S}?",
            "How many {N} can be found in {S}?",
            "Tell me how many {N} {S} has.",
            "Do you know how many {N} {S} has?",
            "I need to know how many {N} {S} has.",
            "What number of {N} does {S} have?",
        ),
        ("How many {N} has {S}?", "{S} has how many {N}?"),
        "The number of {N} of {S} is {V}.",
    ),
    "measure": Relation(
        (
            *("{S} {third} {V}.",) * 12,
            *_spread("<opening> {S} {third} {V}.", opening=_OPENING),
            *_spread("{S} {third} <much> {V}.", much=_ABOUT_AS_MUCH),
            *("{S} {third} {V} in all.",) * 2,
            *("{S} {adv}{third} {V}.",) * 8,
            "We know that {S} {third} {V}.",
        ),
        ("{S} {third} exactly {V}.", "As a rule {S} {third} {V}."),
        (
            *("How much does {S} {base}?",) * 10,
            *_asked("how much {S} {third}"),
            *_spread("How much <mark> does {S} {base}?", mark=_MARK),
            "How much does {S} {adv}{base}?",
            "Tell me how much {S} {third}.",
            "Do you know how much {S} {third}?",
            "I need to know how much {S} {third}.",
            "{S} {third} how much?",
        ),
        ("How much exactly does {S} {base}?", "How much is it that {S} {third}?"),
        "{S} {third} {V}.",
    ),
}

NOT_STATED = "That is not stated."


def fill(template: str, fields: dict[str, str]) -> str:
    """The template with its fields, starting with a capital letter."""
    text = template.format_map(fields)
    return text[0].upper() + text[1:]
