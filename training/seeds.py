"""The seed prompts of self-study: how a reader is asked to ask about a chunk.

Five kinds, as in Cartridges (arXiv 2506.06266, section 4.1): structuring, summarization, question,
use case, creative. A sixth, `unanswered`, asks for what the chunk leaves open, so that a cartridge
also learns to say that something is not stated. This file knows no reader and no tokens.
"""

from typing import Literal, get_args

SeedKind = Literal["question", "use_case", "structuring", "summarization", "creative", "unanswered"]
SEED_KINDS: tuple[SeedKind, ...] = get_args(SeedKind)

SEEDS: dict[SeedKind, str] = {
    "question": "Ask one question that the text answers. Write only the question.",
    "use_case": (
        "Think of somebody who needs the text for a task. Write only the question they would ask."
    ),
    "structuring": "Write only a request to list facts of the text as key: value lines.",
    "summarization": "Write only a request to restate a part of the text.",
    "creative": "Write only a request for a quiz card about something in the text.",
    "unanswered": "Ask one question that the text leaves open. Write only the question.",
}
_NAMED = "Name the people, things and dates that it is about, so that it is clear without the text."


def seeds_for(instructions: str) -> dict[SeedKind, str]:
    """The prompts for a reader that is told `instructions` with every question.

    Who was not trained on these very prompts asks "Who is the author of the text?" unless it is told
    better, which says nothing beside other documents.
    """
    return {kind: f"{seed} {_NAMED}" if instructions else seed for kind, seed in SEEDS.items()}
