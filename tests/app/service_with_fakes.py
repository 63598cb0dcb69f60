"""A whole service of fakes as a process: a replica that tests start, ask and kill."""

import json
import signal
import sys
import threading

from app.service import Service
from app.settings import Settings
from tests.app.app_fakes import FakeEngine, make_parts

WORKER = (sys.executable, "-m", "tests.app.worker_with_fakes")

if __name__ == "__main__":
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    parts = make_parts(engine=FakeEngine(delay=0.01))
    with Service(Settings(), parts, worker_command=WORKER) as service:
        print(json.dumps({"url": service.url}), flush=True)
        ending.wait()
