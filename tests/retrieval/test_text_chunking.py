import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.chunking import chunk

texts = st.one_of(
    st.text(max_size=600),
    st.lists(
        st.sampled_from(["Dr. Huber", "came.", "It", "rained!", "\n", "\n\n", "- one", "x" * 150]),
        max_size=80,
    ).map(" ".join),
)


@given(texts, st.integers(1, 30), st.integers(0, 29))
def test_chunks_cover_the_text_exactly_and_within_bounds(
    text: str, max_words: int, overlap_words: int
) -> None:
    overlap_words = min(overlap_words, max_words - 1)
    chunks = chunk(text, max_words=max_words, overlap_words=overlap_words)
    covered: set[int] = set()
    for index, piece in enumerate(chunks):
        assert piece.index == index
        assert text[piece.start : piece.end] == piece.text
        assert piece.text == piece.text.strip()
        assert 1 <= len(piece.text.split()) <= max_words
        assert len(piece.text) <= max(64, 10 * max_words)
        covered.update(range(piece.start, piece.end))
    assert {i for i, character in enumerate(text) if not character.isspace()} <= covered
    starts = [piece.start for piece in chunks]
    ends = [piece.end for piece in chunks]
    assert starts == sorted(set(starts))
    assert ends == sorted(set(ends))


@given(texts)
def test_words_of_ordinary_length_stay_whole(text: str) -> None:
    for piece in chunk(text, max_words=8, overlap_words=2):
        for edge in (piece.start, piece.end):
            around = text[:edge].split(" ")[-1].split()[-1:] + text[edge:].split(" ")[0].split()[:1]
            inside = 0 < edge < len(text) and not (text[edge - 1] + text[edge]).isspace()
            cut = inside and not text[edge - 1].isspace() and not text[edge].isspace()
            unspaced = any(ord(character) >= 0xE00 for character in text[edge - 1 : edge + 1])
            assert not cut or len("".join(around)) > 64 or unspaced


def test_cuts_behind_paragraphs_then_sentences() -> None:
    text = "One two three four. Five six seven.\n\nEight nine ten. Eleven twelve thirteen fourteen."
    pieces = [piece.text for piece in chunk(text, max_words=9, overlap_words=0)]
    assert pieces == [
        "One two three four. Five six seven.",
        "Eight nine ten. Eleven twelve thirteen fourteen.",
    ]
    pieces = [piece.text for piece in chunk(text, max_words=6, overlap_words=0)]
    assert pieces == [
        "One two three four.",
        "Five six seven.",
        "Eight nine ten.",
        "Eleven twelve thirteen fourteen.",
    ]


@pytest.mark.parametrize("name", ["Dr.", "e.g.", "U.S.", "J.", "(approx."])
def test_an_abbreviation_ends_no_sentence(name: str) -> None:
    text = f"The man came. Then {name} Huber left the house."
    pieces = [piece.text for piece in chunk(text, max_words=6, overlap_words=0)]
    assert pieces[0] == "The man came."


def test_a_list_item_may_begin_a_chunk() -> None:
    text = "Tools to bring\n- a long rake\n- two spades\n- one hose"
    pieces = [piece.text for piece in chunk(text, max_words=9, overlap_words=0)]
    assert pieces == ["Tools to bring\n- a long rake", "- two spades\n- one hose"]


def test_scripts_without_spaces_are_cut_behind_their_sentences() -> None:
    sentence = "水" * 40 + "。"
    pieces = chunk(sentence * 5, max_words=30, overlap_words=0)
    assert [piece.text for piece in pieces] == [sentence] * 5


def test_passages_of_scripts_without_spaces_are_such_as_an_encoder_reads_whole() -> None:
    """About a token for each character, and it reads 256 tokens."""
    for character in "水かกខ":
        pieces = chunk((character * 40 + "。") * 50)
        assert all(100 < len(piece.text) <= 250 for piece in pieces)


def test_consecutive_chunks_share_words() -> None:
    text = " ".join(f"w{i}" for i in range(300))
    first, second, *_ = chunk(text)
    assert first.text.split()[-12:] == second.text.split()[:12]


def test_a_single_word_of_60_kb_is_cut() -> None:
    pieces = chunk("x" * 60_000)
    assert len(pieces) < 100
    assert max(len(piece.text) for piece in pieces) <= 1200


def test_a_blank_text_has_no_chunks() -> None:
    assert chunk(" \n\t ") == []


@pytest.mark.parametrize(("max_words", "overlap_words"), [(0, 0), (5, 5), (5, -1)])
def test_senseless_sizes_are_refused(max_words: int, overlap_words: int) -> None:
    with pytest.raises(ValueError, match="max_words"):
        chunk("a", max_words=max_words, overlap_words=overlap_words)
