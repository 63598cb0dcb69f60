"""The main job with nothing replaced: bundled reader, MiniLM, FAISS, Redis, a worker process."""

import time
from pathlib import Path

import httpx

from app.service import Service
from app.settings import Settings
from tests.bundled import needs_a_reader_that_reads

SHEET = """# The garden flat

The boiler of the garden flat was last serviced by Franz Huber.
The rent of the garden flat is 740 euros.
The spare key of the garden flat is kept behind the mirror.
The owner of the garden flat is Agnes Tilmann.
The garden flat has 3 rooms.
The kitchen of the garden flat was painted on 4 May 2018.
The window of the kitchen was repaired by Ruth Sandmann.
The serial number of the boiler is QX-7731.
"""


@needs_a_reader_that_reads
def test_a_document_becomes_a_cartridge_and_answers(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", port=0, workers=1)
    with Service(settings) as service, httpx.Client(base_url=service.url, timeout=120) as http:
        posted = http.post("/v1/documents", files={"file": ("garden-flat.md", SHEET.encode())})
        assert posted.status_code == 202
        job = posted.json()["job"]
        question = {"question": "Who serviced the boiler of the garden flat?"}
        at_once = http.post("/v1/answers", json=question).json()
        assert at_once["sources"][0]["via"] == "text"
        assert "Franz Huber" in at_once["answer"]
        deadline = time.monotonic() + 1200  # against hanging; how long it takes is the processor's
        while job["status"] not in {"succeeded", "failed", "cancelled"}:
            assert time.monotonic() < deadline, job
            time.sleep(0.5)
            job = http.get(f"/v1/jobs/{job['id']}").json()
        assert job["result"]["published"], job
        answer = http.post("/v1/answers", json=question).json()
    assert answer["sources"][0]["via"] == "cartridge"
    assert "Franz Huber" in answer["answer"]
    assert answer["usage"]["prompt_tokens"] < at_once["usage"]["prompt_tokens"]
    assert answer["usage"]["cartridge_slots"] > 0
