"""Self-study, context distillation and the held-out check. Knows no HTTP, Redis or index."""
