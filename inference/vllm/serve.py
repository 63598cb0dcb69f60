"""`python -m inference.vllm.serve MODEL --cartridges FOLDER`: stock vLLM with cartridges.

Makes the reader card, then becomes vLLM's own OpenAI server with the connector and the middleware named;
every option that is not known here goes on to vLLM. The options of an object store's client stay in the
environment (CARTRIDGES_BLOBS_OPTIONS): a command line is seen and logged. This file knows a command line
and nothing else.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from inference.reader import Reader, load_reader
from inference.vllm.card import describe

CONNECTOR, MODULE = "CartridgeConnector", "inference.vllm.connector"
MIDDLEWARE = "inference.vllm.middleware.CartridgeMiddleware"
# Card, fingerprint and tokenizer are those of the model as it lies there; vLLM would serve another.
_OTHERWISE = (
    "--revision",
    "--tokenizer-revision",
    "--code-revision",
    "--tokenizer",
    "--hf-overrides",
    "--hf-config-path",
)


def transfer_config(cartridges: str, card: Path, host_bytes: int, most: int) -> str:
    """The JSON for `--kv-transfer-config`; it ends in vLLM's log, so no secret stands in it."""
    return json.dumps(
        {
            "kv_connector": CONNECTOR,
            "kv_connector_module_path": MODULE,
            "kv_role": "kv_both",
            "kv_load_failure_policy": "fail",
            "kv_connector_extra_config": {
                "cartridges": cartridges,
                "card": str(card),
                "host_bytes": host_bytes,
                "most": most,
            },
        }
    )


def server_arguments(reader: Reader, config: str, dtype: str, rest: Sequence[str]) -> list[str]:
    """Arguments of vLLM's OpenAI server."""
    arguments = ["--model", reader.name, "--dtype", dtype]
    arguments += ["--kv-transfer-config", config, "--middleware", MIDDLEWARE]
    if "--generation-config" not in rest:
        arguments += ["--generation-config", "vllm"]  # no sampling that the request did not ask for
    if "--model-impl" not in rest and loses_weights(reader):
        arguments += ["--model-impl", "transformers"]
    return [*arguments, *rest]


def loses_weights(reader: Reader) -> bool:
    """Whether vLLM's own class of this model drops weights that the checkpoint has, silently.

    Those of Qwen have no bias behind attention, and take one that is there for a left-over.
    """
    names = reader.model.state_dict()
    biased = any(name.endswith("self_attn.o_proj.bias") for name in names)
    return biased and str(reader.config.model_type).startswith("qwen")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the card, then run vLLM in this process's place."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.vllm.serve",
        description="vLLM's OpenAI server with cartridges; other options are vLLM's.",
        allow_abbrev=False,
    )
    parser.add_argument("model", help="folder or hub name of the reader")
    parser.add_argument("--cartridges", required=True, help="folder or URL of the cartridges")
    parser.add_argument("--card", type=Path, help="where to keep the reader card")
    parser.add_argument("--host-bytes", type=int, default=1 << 30, help="memory for cartridges")
    parser.add_argument("--most", type=int, default=64, help="cartridges that a request may name")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    chosen, rest = parser.parse_known_args(arguments)
    options = (one for one in rest if one.startswith("--"))
    named = {re.split("[=.]", one)[0].replace("_", "-") for one in options}
    if otherwise := sorted(named.intersection(_OTHERWISE)):
        parser.error(
            f"{', '.join(otherwise)} cannot be used with cartridges, which are of the model as it lies "
            "there; put that revision, tokenizer or configuration into a folder and give its folder as "
            "the model"
        )
    reader = load_reader(chosen.model, device="cpu", dtype=chosen.dtype)
    cards = Path.home() / ".cache" / "cartridge-qa" / "cards"
    card = chosen.card or cards / f"{reader.fingerprint}-{chosen.dtype}.safetensors"
    describe(reader).save(card)
    config = transfer_config(chosen.cartridges, card, chosen.host_bytes, chosen.most)
    command = server_arguments(reader, config, chosen.dtype, rest)
    module = "vllm.entrypoints.openai.api_server"
    os.execv(sys.executable, [sys.executable, "-m", module, *command])  # noqa: S606


if __name__ == "__main__":
    main()
