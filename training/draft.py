"""A draft: a document's slots in seconds, not trained: all of its keys and values, or compacted ones.

Compaction asks what is looked at; without a study the document itself asks: its passages, said once and
said again, look at what they are made of ("repeat-prefill" of arXiv 2602.16284, section 3.1). This file
knows a reader and a text; it knows no training and no store.
"""

import numpy as np
from torch import Tensor

from cartridge_store.manifest import DRAFT, PositionRule
from inference.reader import Reader, stacked
from training.compaction import compact
from training.examples import StudyExample
from training.initialisers import document_key_values
from training.pipeline import Distilled
from training.settings import TrainingSettings
from training.windows import Windows


def draft(reader: Reader, text: str, settings: TrainingSettings) -> Distilled | None:
    """What answers for a text until it is trained.

    At one token a slot the reader behind it sees what it would see behind the text; beyond 1.5 a draft
    that nobody trained is hardly worth having (docs/log.md). None where none is wanted, and for a text that
    does not fit in front of the place where questions stand. Raises TrainingRefused as `draft_slots` does.
    """
    tokens = reader.count(text)
    if not settings.draft_compression or not 0 < tokens < settings.question_offset:
        return None
    whole = document_key_values(reader, text)
    columns = whole[0][0].shape[2]
    if not tokens <= columns < settings.question_offset:  # cut, or marked up until it does not fit
        return None
    slots = max(1, round(columns / settings.draft_compression))
    if slots < columns:
        keys, values = draft_slots(reader, text, slots, settings)
    else:
        keys, values = stacked(whole)
    keys, values = (tensor.to(reader.dtype).cpu().contiguous() for tensor in (keys, values))
    return Distilled(
        keys=keys,
        values=values,
        document_tokens=tokens,
        position_rule=PositionRule("fixed", settings.question_offset),
        initialiser="compaction" if slots < columns else "whole",
        recipe=settings.to_dict() | {DRAFT: True},
        figures={"steps": 0},
        passed=True,
        reason="A draft is not checked.",
    )


def draft_slots(
    reader: Reader, text: str, slots: int, settings: TrainingSettings
) -> tuple[Tensor, Tensor]:
    """Keys and values `[layers, kv_heads, slots, head_dim]`, float32, for a text.

    Raises TrainingRefused for more slots than tokens, and where the reader's attention cannot be
    watched.
    """
    asking = restated(reader, text, settings)
    document = document_key_values(reader, text)
    return compact(reader, document, asking, slots, settings.question_offset, settings.seed)


def restated(reader: Reader, text: str, settings: TrainingSettings) -> list[StudyExample]:
    """The text's windows as conversations: each is asked, and answered with its own words."""
    windows = Windows(text, reader.count)
    nothing = np.zeros((1, 1))
    found: dict[str, StudyExample] = {}
    for start in range(len(windows)):
        window = windows.at(start, settings.window_min)
        answer = reader.chat.answer(window, reader.end_id)
        found[window] = StudyExample(
            kind="restated",
            prompt=tuple(reader.chat.message(window)),
            answer=tuple(answer),
            top_ids=nothing.astype(np.int32).repeat(len(answer), 0),
            top_logprobs=nothing.astype(np.float32).repeat(len(answer), 0),
            question=window,
        )
    return list(found.values())
