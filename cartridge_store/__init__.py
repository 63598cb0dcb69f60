"""The cartridge store: the cartridge type, its file, blobs, registry and the store over them.

It knows nothing of training, inference, retrieval or HTTP.
"""
