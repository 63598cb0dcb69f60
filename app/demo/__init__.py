"""What the demonstration ingests and asks, and how vLLM answers it; the command is `app.cli.demo`."""
