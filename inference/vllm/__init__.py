"""Cartridges in stock vLLM: a KV connector, an ASGI middleware and an entry that starts both.

Only `connector`, `metrics` and `middleware` run inside vLLM, and only the first two import it; the rest
is plain torch and runs anywhere.
"""
