"""A draft: a document's slots in seconds, compacted and not trained.

Compaction asks what is looked at; without a study the document itself asks: its passages, said once and
said again, look at what they are made of ("repeat-prefill" of arXiv 2602.16284, section 3.1). This file
knows a reader and a text; it knows no training and no store.
"""

import numpy as np
from torch import Tensor

from inference.reader import Reader
from training.compaction import compact
from training.examples import StudyExample
from training.initialisers import document_key_values
from training.settings import TrainingSettings
from training.windows import Windows


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
            prompt=tuple(reader.chat.question(window)),
            answer=tuple(answer),
            top_ids=nothing.astype(np.int32).repeat(len(answer), 0),
            top_logprobs=nothing.astype(np.float32).repeat(len(answer), 0),
            question=window,
        )
    return list(found.values())
