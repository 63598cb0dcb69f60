"""A driver, run as a program, and the work for the test of two nodes."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from training.fleet.ray_executor import Placement, RayExecutor
from training.fleet.task import Context, Task

HERE = "tests.training.fleet_two_nodes"


def meet(spec: dict[str, Any], context: Context) -> dict[str, Any]:
    """Says that it is there, and waits until `wanted` files are."""
    import ray

    folder = Path(spec["folder"])
    node = ray.get_runtime_context().get_node_id()
    (folder / f"{spec['name']}-{os.getpid()}").write_text(node)
    while not (folder / spec["until"]).exists():
        context.report(0.5)
        time.sleep(0.05)
    return {"node": node}


def tasks(names: str, folder: Path) -> list[Task]:
    return [
        Task(name, f"{HERE}:meet", {"folder": str(folder), "name": name, "until": f"go-{name[0]}"})
        for name in names.split()
    ]


def main(address: str, folder: Path) -> None:
    with RayExecutor(address, Placement(workers=2)) as executor:
        for names in ("a0 a1", "b0 b1"):
            found = {
                done.task_id: done.result["node"] for done in executor.run(tasks(names, folder))
            }
            print(json.dumps(found), flush=True)
    with RayExecutor(address, Placement(workers=1, resources={"left": 0.5})) as executor:
        (done,) = executor.run(tasks("c0", folder))
        print(json.dumps({done.task_id: done.result["node"]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
