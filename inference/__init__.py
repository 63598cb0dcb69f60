"""Readers, composition of cartridges, batched decoding. Knows no HTTP, Redis or index."""
