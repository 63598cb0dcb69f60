"""Names that come from outside: the one place that says which are accepted.

It knows no folder and no server; an accepted id is safe as a file name and as part of a key.
"""

import re

from cartridge_store.errors import InvalidId

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_CARTRIDGE_ID = re.compile(r"c[0-9a-f]{40}")
_BLOB_SUFFIX = ".safetensors"


def validate_id(text: str, what: str = "id") -> str:
    """Return `text` when it is a valid document id, collection or node name.

    Raises InvalidId; `what` names the thing in its message.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text) or ".." in text:
        raise InvalidId(
            f"{_shown(text)} is not a valid {what}: use 1 to 128 lower-case letters, digits, "
            "'.', '_' or '-', beginning with a letter or digit and without '..'."
        )
    return text


def validate_cartridge_id(text: str) -> str:
    """Return `text` when it is "c" and 40 lower-case hex digits; raises InvalidId."""
    if not isinstance(text, str) or not _CARTRIDGE_ID.fullmatch(text):
        raise InvalidId(
            f"{_shown(text)} is not a cartridge id: use 'c' followed by 40 lower-case hex digits."
        )
    return text


def blob_name(cartridge_id: str) -> str:
    """The name under which a cartridge is stored; raises InvalidId."""
    return validate_cartridge_id(cartridge_id) + _BLOB_SUFFIX


def cartridge_id_of(name: str) -> str:
    """The cartridge stored under a blob name; raises InvalidId when the name is not one."""
    if not name.endswith(_BLOB_SUFFIX):
        raise InvalidId(f"{_shown(name)} is not a cartridge's file; remove it from the blobs.")
    return validate_cartridge_id(name.removesuffix(_BLOB_SUFFIX))


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."
