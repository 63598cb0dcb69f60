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
ASKED = {
    "Who serviced the boiler of the garden flat?": "Franz Huber",
    "What is the rent of the garden flat?": "740",
    "Where is the spare key of the garden flat kept?": "mirror",
    "Who is the owner of the garden flat?": "Agnes Tilmann",
    "How many rooms does the garden flat have?": "3",
    "When was the kitchen of the garden flat painted?": "4 May 2018",
}


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
        by_cartridge = [
            http.post("/v1/answers", json={"question": asked, "mode": "cartridge"}).json()
            for asked in ASKED
        ]
    # From the cartridge, or from the text where the cartridge's answer is doubted: right in any case.
    assert "Franz Huber" in answer["answer"]
    for given in by_cartridge:
        assert given["sources"][0]["via"] == "cartridge"
        assert given["usage"]["prompt_tokens"] < at_once["usage"]["prompt_tokens"]
        assert given["usage"]["cartridge_slots"] > 0
    # What is learned differs with the processor's arithmetic, a question or two either way.
    right = sum(s in a["answer"] for a, s in zip(by_cartridge, ASKED.values(), strict=True))
    assert right >= len(ASKED) // 2, [given["answer"] for given in by_cartridge]
