"""Drafts: a document's own keys and values, until it is trained."""

from dataclasses import replace

import pytest
import torch

from inference.reader import Reader
from tests.models import TEXT
from training.draft import draft
from training.initialisers import document_key_values
from training.settings import TrainingRefused, TrainingSettings

SETTINGS = TrainingSettings()


def test_a_draft_is_the_documents_own_keys_and_values(exact_reader: Reader) -> None:
    found = draft(exact_reader, TEXT, SETTINGS)
    assert found is not None
    whole = document_key_values(exact_reader, TEXT)
    assert torch.equal(found.keys, torch.cat([keys for keys, _ in whole]))
    assert torch.equal(found.values, torch.cat([values for _, values in whole]))
    assert found.passed
    assert found.recipe["draft"] is True
    assert found.document_tokens == exact_reader.count(TEXT)


def test_a_smaller_draft_is_compacted(exact_reader: Reader) -> None:
    whole = draft(exact_reader, TEXT, SETTINGS)
    half = draft(exact_reader, TEXT, replace(SETTINGS, draft_compression=2.0))
    assert whole is not None
    assert half is not None
    assert (whole.initialiser, half.initialiser) == ("whole", "compaction")
    assert half.keys.shape[2] == round(whole.keys.shape[2] / 2)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (TEXT, {"draft_compression": 0.0}),
        ("", {}),
        (TEXT * 200, {}),  # questions would stand inside of it
        (TEXT, {"question_offset": 20}),
    ],
)
def test_there_is_none_where_it_is_not_wanted_or_does_not_fit(
    exact_reader: Reader, text: str, changes: dict[str, float]
) -> None:
    assert draft(exact_reader, text, replace(SETTINGS, **changes)) is None  # type: ignore[arg-type]


def test_a_compression_below_one_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="draft_compression"):
        TrainingSettings(draft_compression=0.5)
