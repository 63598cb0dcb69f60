"""Work for the tests of the fleet: what tasks may do, and die of."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from training.fleet.task import Context

Spec = dict[str, Any]


def double(spec: Spec, context: Context) -> Spec:
    context.report(0.5)
    return {"double": 2 * spec["number"], "threads": torch.get_num_threads()}


def slowly(spec: Spec, context: Context) -> Spec:
    """Leaves a line in a file at its start, then takes its time in steps."""
    with Path(spec["log"]).open("a") as log:
        log.write(f"{spec['name']}\n")
    for step in range(spec["steps"]):
        context.report(step / spec["steps"])
        time.sleep(0.05)
    return {"name": spec["name"], "pid": os.getpid()}


def failing(spec: Spec, context: Context) -> Spec:
    raise LookupError(f"no {spec['what']}")


def once_for_all(spec: Spec, context: Context) -> Spec:
    """Whether what a worker keeps is made once."""
    made = context.keep("list", lambda: [0])
    made[0] += 1
    return {"times": made[0]}


def no_json(spec: Spec, context: Context) -> Spec:
    return {"tensor": torch.zeros(1)}


def dying(spec: Spec, context: Context) -> Spec:
    """Kills its own process the first `times` times."""
    log = Path(spec["log"])
    with log.open("a") as lines:
        lines.write("x")
    if len(log.read_text()) <= spec["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempts": len(log.read_text())}


def where(spec: Spec, context: Context) -> Spec:
    """The Ray node that it runs on, after a while."""
    import ray

    time.sleep(spec["seconds"])
    return {"node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}
