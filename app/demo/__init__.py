"""The demonstration: the main job over REST, from a few documents to checked answers."""
