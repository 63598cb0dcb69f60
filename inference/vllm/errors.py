"""What can be wrong with a request or a server that names cartridges; every message says what to do."""


class MountRefused(ValueError):
    """These cartridges cannot stand before this prompt."""


class CardRefused(ValueError):
    """The reader card cannot be made, or is not one."""
