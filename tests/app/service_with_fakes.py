"""A whole service of fakes as a process: a replica that tests start, ask and kill."""

import json
import signal
import threading

from app.service import Service
from app.settings import Settings
from tests.app.app_fakes import FakeEngine, make_parts

if __name__ == "__main__":
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    parts = make_parts(engine=FakeEngine(delay=0.01))
    with Service(Settings(), parts) as service:
        print(json.dumps({"url": service.url}), flush=True)
        ending.wait()
