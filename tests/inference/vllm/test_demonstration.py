"""The demonstration's documents in vLLM: OpenAI's client names them and gets what they say."""

from app.demo.material import LAYOUTS, material
from app.demo.through_vllm import Asked, ask_vllm
from evaluation.scoring import states
from tests.vllm_serving import VllmServer, document_cartridge


def test_every_sheet_of_the_demonstration_answers(vllm: VllmServer) -> None:
    """Documents whole and untrained: what the demonstration trains takes minutes."""
    papers, questions = material()
    for paper in papers:
        id = paper.filename.removesuffix(".md")
        vllm.keep(document_cartridge(vllm.reader, paper.text, collection="demo", document_id=id))
    about = questions[-len(LAYOUTS) :]  # one to each sheet, in their order
    asked = [Asked(each.text, (f"sheet-{n}",)) for n, each in enumerate(about, 1)]
    answers = ask_vllm(vllm.url, asked, "demo")
    right = [
        states(answer.named, each.expected or "")
        for answer, each in zip(answers, about, strict=True)
    ]
    assert sum(right) >= len(LAYOUTS) - 1, answers
    # Behind the whole collection something is said, whatever untrained documents make of it.
    assert all(answer.whole for answer in answers)
