"""One cartridge for several documents: the baseline that a collection's own cartridges are held against.

As many slots and steps as the documents' cartridges have together, learned from the same study. This file
knows a reader, texts and a folder; it knows no store.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from inference.reader import Reader
from training.distillation import Distillation, distilling
from training.examples import StudyExample
from training.pipeline import first_slots
from training.settings import TrainingSettings
from training.studying import kept_study, split_study

_STUDY = 0.4  # share of the whole


def distil_whole(
    reader: Reader,
    texts: Mapping[str, str],
    slots: Mapping[str, int],
    settings: TrainingSettings,
    *,
    workdir: Path,
    kept: Callable[[str], Path | None] = lambda name: None,
    report: Callable[[str, float], None] = lambda *_: None,
) -> tuple[Tensor, Tensor]:
    """Keys and values `[layers, kv_heads, sum of slots, head_dim]`, float32, for all texts together.

    `texts`, `slots` and `kept`, the folders of kept studies, are by document; what `report` raises stops
    the run, which goes on where it was. Raises TrainingRefused where a text cannot be studied.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    studies: dict[str, list[StudyExample]] = {}
    for place, (name, text) in enumerate(texts.items()):

        def told(done: float, place: int = place) -> None:
            report("self-study", _STUDY * (place + done) / len(texts))

        path = workdir / f"{name}.parquet"
        examples = kept_study(reader, text, settings, path, told, studies=kept(name))
        studies[name] = split_study(examples, settings)[1]
    steps = sum(settings.steps(len(studied)) for studied in studies.values())
    pairs = [
        first_slots(reader, text, slots[name], settings, studies[name])
        for name, text in texts.items()
    ]
    keys, values = (torch.cat([pair[side] for pair in pairs], dim=2) for side in (0, 1))
    run = Distillation(keys, values, max(1, round(steps * settings.joint_share)), settings, workdir)
    learned = [example for studied in studies.values() for example in studied]
    run.run(
        distilling(reader, learned, settings),
        lambda done: report("distillation", _STUDY + (1 - _STUDY) * done),
    )
    return run.keys.detach(), run.values.detach()
