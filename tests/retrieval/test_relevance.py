"""How well what was found fits a question: meaning and words, and how rare these are."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import DocumentLibrary
from retrieval.encoder import LexicalEncoder
from retrieval.relevance import Rarity, by_relevance, words_of
from retrieval.retriever import Retriever
from retrieval.table import Hit

PASSAGES = (
    "The boiler was serviced by Franz Huber.",
    "The choir was founded by Mira Tolen.",
    "The mill was built of oak.",
)


def hit(text: str, score: float) -> Hit:
    return Hit("a", 0, text, 0, len(text), score)


def test_words_are_known_without_case_and_endings() -> None:
    assert words_of("Serviced SERVICES, the boiler's") == {"servic", "the", "boiler", "s"}
    assert words_of("Straße") == words_of("STRASSE")


def test_numbers_are_not_cut() -> None:
    assert words_of("20240017 and 20240098") == {"20240017", "and", "20240098"}
    assert words_of("conditioning X2000-117B") == {"condit", "x2000", "117b"}


def test_scripts_without_spaces_have_pairs_for_words() -> None:
    assert words_of("東京タワーは333m、水") == {
        "東京",
        "京タ",
        "タワ",
        "ワー",
        "ーは",
        "333m",
        "水",
    }


def test_rare_words_count_and_those_of_every_passage_hardly() -> None:
    rarity = Rarity(PASSAGES)
    assert rarity.of("boiler") == pytest.approx(math.log(4 / 1.5))
    assert rarity.of("unheard") == pytest.approx(math.log(4 / 0.5))
    assert rarity.of("the") == pytest.approx(math.log(4 / 3.5))
    assert Rarity([]).of("the") == pytest.approx(math.log(2))


def test_nearness_and_the_words_held_are_added() -> None:
    rarity = Rarity(PASSAGES)
    near, full = hit("Nothing of that.", 0.6), hit(PASSAGES[0], 0.2)
    asked = "Who serviced the boiler?"
    whole = sum(rarity.of(word) for word in words_of(asked))
    held = 1 - rarity.of("who") / whole
    assert by_relevance(asked, [near, full], rarity) == [
        replace(full, score=pytest.approx(0.2 + held)),
        near,
    ]
    assert by_relevance("?", [full, near], rarity) == [near, full]
    assert by_relevance(asked, [], rarity) == []


@given(
    st.text(max_size=40), st.lists(st.tuples(st.text(max_size=40), st.floats(-1, 1)), max_size=5)
)
def test_words_add_a_share(question: str, found: list[tuple[str, float]]) -> None:
    hits = [replace(hit(text, score), chunk_index=n) for n, (text, score) in enumerate(found)]
    ordered = by_relevance(question, hits, Rarity([text for text, _ in found]))
    assert sorted(each.chunk_index for each in ordered) == [each.chunk_index for each in hits]
    assert all(a.score >= b.score for a, b in pairwise(ordered))
    for each in ordered:
        before = hits[each.chunk_index].score
        assert before <= each.score <= before + 1 + 1e-9


def test_how_well_a_texts_words_fit_questions(tmp_path: Path) -> None:
    library = DocumentLibrary(tmp_path / "library")
    retriever = Retriever(library, LexicalEncoder(), tmp_path / "indexes")
    questions = ["Who serviced the boiler?", "Which comet passed Jupiter in March?"]
    assert retriever.fit("default", PASSAGES[0])(questions) == [0.0, 0.0]  # nothing to compare
    for name, text in zip("abc", PASSAGES, strict=True):
        document, _ = library.put("default", name, name, text)
        retriever.index_document(document)
    about, foreign = retriever.fit("default", "Our boiler was serviced again.")(questions)
    assert about > foreign + 0.3
    assert foreign < 0.1
    assert retriever.fit("default", "A comet.")([]) == []


def test_a_collections_own_words_decide(tmp_path: Path) -> None:
    library = DocumentLibrary(tmp_path / "library")
    retriever = Retriever(library, LexicalEncoder(), tmp_path / "indexes")
    for name, text in zip("abc", PASSAGES, strict=True):
        document, _ = library.put("default", name, name, text)
        retriever.index_document(document)

    def fits(question: str) -> float:
        return retriever.search("default", question, 1)[0].score

    about, foreign = fits("Who serviced the boiler?"), fits("Which comet passed Jupiter in March?")
    assert about > foreign + 0.5
    # More passages, other rarities: counted anew.
    for number in range(4):
        document, _ = library.put("default", f"d{number}", None, f"Comet {number} passed Jupiter.")
        retriever.index_document(document)
    assert fits("Which comet passed Jupiter in March?") > foreign + 0.5
    # As many others in their place: counted anew, too.
    for number in range(4):
        library.delete("default", f"d{number}")
        retriever.remove_document("default", f"d{number}")
        document, _ = library.put("default", f"e{number}", None, f"Boiler {number} was repaired.")
        retriever.index_document(document)
    assert fits("Who repaired a comet?") < fits("Who repaired boiler 3?")
    assert fits("boiler 3") - fits("boiler") > 0.1
    document, _ = library.put("default", "d", None, "Comet 9 passed Jupiter.")
    retriever.index_document(document)
    assert retriever.search("default", "Which comet passed?", 1)[0].document_id.startswith("d")
