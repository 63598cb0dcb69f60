"""What people touch: the HTTP API, the command line, settings, wiring and workers."""
