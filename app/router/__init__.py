"""The router: a thin proxy in front of replicas that sends a question where its cartridges are."""
