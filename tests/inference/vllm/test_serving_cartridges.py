"""A real vLLM server with the connector: the local engine's answers, no leak, failures of one request."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import torch
from openai import NotFoundError, OpenAI

from benchmarks.vllm_process import MODEL
from cartridge_store.cartridge import Cartridge
from cartridge_store.format import to_bytes
from cartridge_store.ids import blob_name
from cartridge_store.quantisation import quantised
from inference.composer import compose
from inference.decoding import Prompt, decode
from inference.reader import Reader
from inference.sampling import Sampling
from tests.vllm_serving import VllmServer, document_cartridge, first_of_each, sheets

MOUNTS, READ = "vllm:cartridges_mounts_total", "vllm:cartridges_read_total"


@dataclass(frozen=True)
class Shelf:
    """Cartridges of sheets, a question about each, and all questions about each."""

    cartridges: list[Cartridge]
    questions: list[str]
    texts: list[str]
    about: list[list[str]]

    def ids(self, chosen: Sequence[int]) -> list[str]:
        return [self.cartridges[n].id for n in chosen]


@pytest.fixture(scope="module")
def shelf(vllm: VllmServer) -> Shelf:
    drawn = sheets(vllm.reader, 12)
    texts = [sheet.text for sheet in drawn.sheets]
    kept = [vllm.keep(document_cartridge(vllm.reader, text)) for text in texts]
    about = [[i.question for i in drawn.items if i.document == n] for n in range(12)]
    return Shelf(kept, first_of_each(drawn, range(12)), texts, about)


def local(
    reader: Reader, cartridges: Sequence[Cartridge], question: str, tokens: int = 12
) -> list[int]:
    sampling = Sampling(max_tokens=tokens)
    prompt = Prompt(compose(reader, cartridges), reader.chat.question(question), sampling)
    return decode(reader, [prompt])[0]


def said(vllm: VllmServer, prompt: str | list[int], **body: Any) -> list[int]:
    ids = vllm.complete(prompt, return_token_ids=True, **body)["token_ids"]
    return [id for id in ids if id != vllm.reader.end_id]


@pytest.mark.parametrize("chosen", [[0], [1], [2, 3], [5, 0], list(range(8))], ids=str)
def test_greedy_answers_equal_the_local_ones(
    vllm: VllmServer, shelf: Shelf, chosen: list[int]
) -> None:
    cartridges = [shelf.cartridges[n] for n in chosen]
    assert len({cartridge.slots % 32 for cartridge in cartridges}) > len(chosen) // 2  # ragged
    answers = []
    for n in chosen[:2]:
        expected = local(vllm.reader, cartridges, shelf.questions[n])
        assert said(vllm, shelf.questions[n], cartridges=shelf.ids(chosen)) == expected
        answers.append(tuple(expected))
    assert len(set(answers)) == len(answers)  # else nothing could be told apart


@pytest.mark.parametrize("slots", [1, 30, 31, 32, 33, 64])
def test_any_number_of_slots_fits_any_block(vllm: VllmServer, shelf: Shelf, slots: int) -> None:
    one = vllm.keep(document_cartridge(vllm.reader, shelf.texts[9], slots=slots))
    for _ in range(2):  # the second time from the prefix cache
        assert said(vllm, shelf.questions[9], cartridges=[one.id]) == local(
            vllm.reader, [one], shelf.questions[9]
        )


def test_log_probabilities_equal_those_of_an_ordinary_prefill(
    vllm: VllmServer, shelf: Shelf
) -> None:
    """Full-document KV through the connector, against vLLM's own reading of the same text."""
    chat, text, question = vllm.reader.chat, shelf.texts[4], shelf.questions[4]
    whole = document_cartridge(vllm.reader, text, offset=None)
    vllm.keep(whole)
    plain = [chat.sink_id, *chat.documents([text]), *chat.question(question)]
    read = vllm.complete(plain, logprobs=5, return_token_ids=True)
    mounted = vllm.complete(question, cartridges=[whole.id], logprobs=5, return_token_ids=True)
    assert mounted["token_ids"] == read["token_ids"]
    for one, other in zip(
        mounted["logprobs"]["top_logprobs"], read["logprobs"]["top_logprobs"], strict=True
    ):
        assert one == pytest.approx(other, abs=1e-3)


def test_eight_bit_values_are_served(vllm: VllmServer, shelf: Shelf) -> None:
    like = shelf.cartridges[6]
    values, scales = quantised(like.values)
    m = like.manifest
    small = Cartridge.create(
        like.keys.bfloat16(),
        values,
        scales=scales,
        collection=m.collection,
        document_id=m.document_id,
        document_sha256=m.document_sha256,
        document_tokens=m.document_tokens,
        reader_fingerprint=m.reader_fingerprint,
        tokenizer_fingerprint=m.tokenizer_fingerprint,
        position_rule=m.position_rule,
        initialiser=m.initialiser,
        recipe={},
        figures={},
    )
    assert small.manifest.dtype == "bfloat16_int8"
    vllm.keep(small)
    expected = local(vllm.reader, [small], shelf.questions[6])
    assert said(vllm, shelf.questions[6], cartridges=[small.id]) == expected


def test_no_answer_changes_with_what_runs_beside_it(vllm: VllmServer, shelf: Shelf) -> None:
    """64 requests over 16 compositions, shuffled, all at once, then each alone."""
    rng = Random(1)
    compositions: list[list[int]] = []
    while len(compositions) < 16:
        chosen = sorted(rng.sample(range(12), rng.choice((1, 2, 3))))
        if chosen not in compositions:
            compositions.append(chosen)
    asked = [
        (c, question)
        for c in compositions
        for question in rng.sample([q for n in c for q in shelf.about[n]], 4)
    ]
    rng.shuffle(asked)

    def ask(one: tuple[list[int], str]) -> tuple[int, ...]:
        return tuple(said(vllm, one[1], cartridges=shelf.ids(one[0]), max_tokens=7))

    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(ask, asked))
    prompts = [
        Prompt(
            compose(vllm.reader, [shelf.cartridges[n] for n in composition]),
            vllm.reader.chat.question(question),
            Sampling(max_tokens=7),
        )
        for composition, question in asked
    ]
    expected = [
        tuple(ids) for at in range(0, 64, 8) for ids in decode(vllm.reader, prompts[at : at + 8])
    ]
    assert together == expected
    assert len(set(together)) > 16  # else nothing could be told apart
    assert [ask(one) for one in asked[:8]] == expected[:8]


def test_the_second_request_of_a_composition_loads_nothing(vllm: VllmServer, shelf: Shelf) -> None:
    two = [
        vllm.keep(document_cartridge(vllm.reader, text, slots=100)) for text in shelf.texts[10:12]
    ]
    names = {"cartridges": [one.id for one in two]}
    columns = "vllm:cartridges_columns_written_total"
    before = {name: vllm.counted(name) for name in (READ, columns)}
    vllm.complete(shelf.questions[10], **names)
    assert vllm.counted(READ) - before[READ] == 2
    assert vllm.counted(columns) - before[columns] == 201
    vllm.complete(shelf.questions[11], **names)
    assert vllm.counted(READ) - before[READ] == 2
    # 201 columns are six whole blocks of 32, which the prefix cache has, and nine columns more.
    assert vllm.counted(columns) - before[columns] == 201 + 9


def test_tenants_share_no_blocks(vllm: VllmServer, shelf: Shelf) -> None:
    columns = "vllm:cartridges_columns_written_total"
    one = vllm.keep(document_cartridge(vllm.reader, shelf.texts[10], slots=63))
    before = vllm.counted(columns)
    for tenant in ("red", "blue", "red"):
        vllm.complete("Who?", cartridges=[one.id], cache_salt=tenant)
    assert vllm.counted(columns) - before == 64 + 64 + 0


def test_placeholders_alone_mount_nothing(vllm: VllmServer, shelf: Shelf) -> None:
    """A plain request whose ids are those of a mounted one is read as text."""
    sink, one = vllm.reader.chat.sink_id, shelf.cartridges[0]
    behind = vllm.reader.chat.question(shelf.questions[0])
    said(vllm, shelf.questions[0], cartridges=[one.id])
    plain = said(vllm, [sink] * (1 + one.slots) + behind)
    with torch.no_grad():
        ids = torch.tensor([[sink] * (1 + one.slots) + behind])
        first = vllm.reader.model(ids).logits[0, -1].argmax()
    assert plain[0] == first


@pytest.fixture
def healthy(vllm: VllmServer, shelf: Shelf) -> Any:
    """After whatever the test did, the server answers the next request rightly."""
    yield
    expected = local(vllm.reader, [shelf.cartridges[3]], shelf.questions[3], 5)
    assert said(vllm, shelf.questions[3], cartridges=shelf.ids([3]), max_tokens=5) == expected


@pytest.mark.usefixtures("healthy")
def test_a_cartridge_that_is_not_there_is_not_found(vllm: VllmServer) -> None:
    answer = vllm.post("/v1/completions", prompt="Who?", cartridges=["c" + "0" * 40])
    assert answer.status_code == 404
    assert "publish" in answer.json()["error"]["message"]


@pytest.mark.usefixtures("healthy")
def test_a_name_that_is_none_is_refused(vllm: VllmServer) -> None:
    answer = vllm.post("/v1/completions", prompt="Who?", cartridges=["../../etc/passwd"])
    assert answer.status_code == 400
    assert "document id" in answer.json()["error"]["message"]


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/invocations"])
def test_no_other_route_answers_from_nothing(vllm: VllmServer, shelf: Shelf, path: str) -> None:
    answer = vllm.post(path, prompt="Who?", input="Who?", cartridges=shelf.ids([0]))
    assert answer.status_code == 400
    assert "/v1/completions" in answer.json()["error"]["message"]


@pytest.mark.usefixtures("healthy")
def test_another_readers_cartridge_is_refused(vllm: VllmServer, shelf: Shelf) -> None:
    wrong = document_cartridge(vllm.reader, shelf.texts[0], slots=9, fingerprint="ab" * 32)
    vllm.keep(wrong)
    answer = vllm.post("/v1/completions", prompt="Who?", cartridges=[wrong.id])
    assert answer.status_code == 400
    assert "was trained for the reader abab" in answer.json()["error"]["message"]


@pytest.mark.usefixtures("healthy")
def test_a_damaged_blob_fails_its_own_request_alone(vllm: VllmServer, shelf: Shelf) -> None:
    damaged = document_cartridge(vllm.reader, shelf.texts[7], slots=40)
    data = bytearray(to_bytes(damaged))
    data[-1] ^= 1
    vllm.blobs.put(blob_name(damaged.id), data)
    whole = shelf.ids([1])
    failed = vllm.counted("vllm:cartridges_failed_total")

    def ask(ids: list[str]) -> int:
        body = {"prompt": shelf.questions[1], "cartridges": ids, "max_tokens": 40}
        return vllm.post("/v1/completions", **body).status_code

    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(ask, [whole, [damaged.id], whole, [damaged.id, *whole], whole]))
    assert found == [200, 500, 200, 500, 200]
    assert vllm.counted("vllm:cartridges_failed_total") - failed == 2
    vllm.blobs.put(blob_name(damaged.id), to_bytes(damaged))  # mended: nothing of it was kept
    expected = local(vllm.reader, [damaged], "Who?")
    assert said(vllm, "Who?", cartridges=[damaged.id]) == expected


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("prompt", [[5], [5, 6, 7], "placeholders"])
def test_a_prompt_without_its_placeholders_fails(
    vllm: VllmServer, shelf: Shelf, prompt: Any
) -> None:
    """Whoever goes past the middleware is not answered from placeholders or from nothing."""
    one = shelf.cartridges[0]
    if prompt == "placeholders":
        prompt = [vllm.reader.chat.sink_id] * (1 + one.slots)  # and nothing behind them
    direct = {"cartridges": [one.id]}
    refused = vllm.counted("vllm:cartridges_refused_total")
    answer = vllm.post("/v1/completions", prompt=prompt, kv_transfer_params=direct)
    assert answer.status_code == 500
    assert vllm.counted("vllm:cartridges_refused_total") - refused == 1


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize(
    "wish", [{"echo": True}, {"prompt_logprobs": 1}, {"use_beam_search": True}, {"suffix": "x"}]
)
def test_what_would_read_placeholders_is_refused(
    vllm: VllmServer, shelf: Shelf, wish: dict[str, Any]
) -> None:
    answer = vllm.post("/v1/completions", prompt="Who?", cartridges=shelf.ids([0]), **wish)
    assert answer.status_code == 400
    assert next(iter(wish)) in answer.json()["error"]["message"]


def test_openais_client_names_documents_and_collections(vllm: VllmServer, shelf: Shelf) -> None:
    one = shelf.cartridges[2]
    expected = local(vllm.reader, [one], shelf.questions[2])
    names = {"cartridges": [one.manifest.document_id], "collection": one.manifest.collection}
    with OpenAI(base_url=f"{vllm.url}/v1", api_key="none") as client:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": shelf.questions[2]}],
            temperature=0.0,
            max_tokens=12,
            extra_body=names,
        )
        with pytest.raises(NotFoundError, match="no cartridge of"):
            client.completions.create(
                model=MODEL, prompt="Who?", extra_body={"cartridges": ["sheet-0"]}
            )
    text = answer.choices[0].message.content or ""
    assert text.strip() == vllm.reader.decode(expected).strip()


def test_requests_without_cartridges_are_vllms_own(vllm: VllmServer) -> None:
    chat = vllm.reader.chat
    expected = local(vllm.reader, [], "Who painted the gate?")
    plain = [chat.sink_id, *chat.question("Who painted the gate?")]
    assert said(vllm, plain) == expected
