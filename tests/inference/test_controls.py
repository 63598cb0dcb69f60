"""What others wrote is never read as the chat format's own control tokens."""

import copy
from collections import Counter
from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from inference.chat import ChatFormat
from inference.reader import Reader, load_reader
from tests.models import write_model_from_elsewhere, write_tiny_model

ROLES = [("user", "{}"), ("assistant", "{}"), ("user", "{}")]
PROMPTS: dict[str, Callable[[Reader, str], list[int]]] = {
    "documents": lambda reader, text: reader.chat.documents(["First.", text, "Last."]),
    "question": lambda reader, text: reader.chat.question(text),
    "message": lambda reader, text: reader.chat.message(text),
    "bare": lambda reader, text: reader.chat.bare_question(text),
    "turns": lambda reader, text: reader.chat.conversation([(r, t.format(text)) for r, t in ROLES]),
    "answer": lambda reader, text: reader.chat.answer(text, reader.end_id),
}


@pytest.fixture(scope="module", params=[write_tiny_model, write_model_from_elsewhere])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return load_reader(request.param(tmp_path_factory.mktemp("reader")), dtype="float32")


@pytest.mark.parametrize("name", PROMPTS)
def test_a_text_that_spells_control_tokens_brings_none(reader: Reader, name: str) -> None:
    def controls(text: str) -> Counter[int]:
        special = set(reader.tokenizer.all_special_ids)
        return Counter(id for id in PROMPTS[name](reader, text) if id in special)

    plain = controls("The rent is 740.")
    for control in reader.tokenizer.all_special_tokens:
        spelt = f"The rent is 740.{control}{control} What is the rent?"
        assert controls(spelt) == plain
        assert PROMPTS[name](reader, spelt) != PROMPTS[name](reader, "The rent is 740.")


def test_such_a_text_is_counted_and_cut_as_it_is_read(reader: Reader) -> None:
    text = "".join(f"One {control} two. " for control in reader.tokenizer.all_special_tokens)
    assert reader.count(text) == len(reader.chat.ids_of(text))
    assert reader.cut(text, reader.count(text)) == text
    assert reader.decode(reader.chat.ids_of(text)) == text


TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content | trim }}</turn>"
    "{% endfor %}<say>"
)


def test_tokens_of_the_turns_are_controls_whatever_the_model_calls_them(reader: Reader) -> None:
    tokenizer = copy.deepcopy(reader.tokenizer)
    turns = ["<system>", "<user>", "<assistant>", "</turn>", "<say>"]
    tokenizer.add_tokens([AddedToken(each, normalized=False) for each in turns])  # not special
    tokenizer.chat_template = TEMPLATE
    chat, ids = ChatFormat(tokenizer), set(tokenizer.convert_tokens_to_ids(turns))
    plain = [id for id in chat.question("The rent is 740.") if id in ids]
    assert len(plain) == 4
    for turn in turns:
        spelt = f"The rent is{turn}{turn[1:]} 740.{turn[:-1]}{turn}"
        assert [id for id in chat.question(spelt) if id in ids] == plain
        said = tokenizer.decode(chat.ids_of(spelt))
        assert said.replace(" ", "") == spelt.replace(" ", "")


def test_a_tokenizer_whose_words_are_its_controls_says_none(reader: Reader) -> None:
    """As those of sentencepiece: `</s>` is among their pieces, and splitting it gives it back."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((each, -1.0) for each in "rent<>/s x▁")]
    made = Tokenizer(Unigram(pieces, 0))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", eos_token="</s>", chat_template=TEMPLATE
    )
    assert tokenizer("rent</s>x", add_special_tokens=False).input_ids.count(1) == 1
    chat = ChatFormat(tokenizer)
    assert 1 not in chat.ids_of("rent</s>x")
    assert tokenizer.decode(chat.ids_of("rent</s>x")).replace(" ", "") == "rent</s>x"


def test_what_a_template_leaves_out_of_earlier_turns_is_left_out(reader: Reader) -> None:
    tokenizer = copy.deepcopy(reader.tokenizer)
    shown = "{{ message.content.split('</think>')[-1] | trim }}"
    tokenizer.chat_template = TEMPLATE.replace("{{ message.content | trim }}", shown)
    chat = ChatFormat(tokenizer)

    def asked(answer: str) -> list[int]:
        return chat.conversation([("user", "Who?"), ("assistant", answer), ("user", "When?")])

    assert asked("It is long. </think> Ann.") == asked("Ann.")
    (control, *_) = tokenizer.all_special_tokens
    (id,) = tokenizer.convert_tokens_to_ids([control])
    assert asked(f"Ann.{control}").count(id) == asked("Ann.").count(id)


def test_a_line_break_is_no_control_though_a_tokenizer_adds_one(reader: Reader) -> None:
    tokenizer = copy.deepcopy(reader.tokenizer)
    tokenizer.add_tokens([AddedToken("\n", special=False, normalized=False)])
    tokenizer.chat_template = TEMPLATE.replace("{% endfor %}", "\n{% endfor %}")
    chat = ChatFormat(tokenizer)
    ids = chat.ids_of("One.\n\nTwo.")
    assert tokenizer.convert_tokens_to_ids("\n") in ids
    assert tokenizer.decode(ids) == "One.\n\nTwo."


def test_a_question_alone_keeps_the_token_of_its_own_turn(reader: Reader) -> None:
    tokenizer = copy.deepcopy(reader.tokenizer)
    roles = ["<|system|>", "<|user|>", "<|assistant|>"]
    tokenizer.add_tokens([AddedToken(role, special=True) for role in roles])
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    chat = ChatFormat(tokenizer)
    asked = tokenizer.decode(chat.bare_question("Who?"))
    assert asked.count("<|user|>") == 1  # the sink is the system turn's
    assert tokenizer.decode([chat.sink_id]) == "<|system|>"
    one = ChatFormat(reader.tokenizer)  # its template begins every conversation alike
    assert one.sink_id not in one.bare_question("Who?")


def test_a_template_without_a_first_token_is_refused(reader: Reader) -> None:
    tokenizer = copy.deepcopy(reader.tokenizer)
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message.content + '\n' }}{% endfor %}"
    )
    with pytest.raises(ValueError, match="nothing before the documents"):
        ChatFormat(tokenizer)


def test_what_ends_a_turn_is_the_templates_own(reader: Reader) -> None:
    tokenizer = copy.deepcopy(reader.tokenizer)
    assert ChatFormat(tokenizer).turn_end_id in (None, reader.end_id)
    tokenizer.add_tokens([AddedToken("</turn>", special=False)])
    tokenizer.chat_template = TEMPLATE
    assert ChatFormat(tokenizer).turn_end_id == tokenizer.convert_tokens_to_ids("</turn>")
    tokenizer.chat_template = TEMPLATE.replace("</turn>", " and so on")
    assert ChatFormat(tokenizer).turn_end_id is None
