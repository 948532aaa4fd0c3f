"""Labels under the templates of the models that are loaded: answers and their ends are learned, nothing else."""

from pathlib import Path

import pytest

from desa2va.modeling_desa2va.conversion.sa2va_processor import TEMPLATES
from desa2va.processing.batch.chat_encoding import ChatEncoder

PEER = Path(__file__).resolve().parents[3].parent / "shared" / "peer_golden"
LLAMA3 = (
    "{{ '<|bos|>' }}{% for m in messages %}{{ '<|head|>' + m['role'] + '</head>\n\n' + m['content'] + '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|head|>assistant</head>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ '<|bos|>' }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + ' </s>' }}{% endif %}{% endfor %}"
)
# Thoughts of the last answer alone, empty, as models write them that can be told not to think.
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if loop.last and m['role'] == 'assistant' %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}"
)
# Name: template, what closes an answer, control tokens that its tokenizer has beside ours.
CASES = {
    **{name: (*entry, [entry[1]]) for name, entry in TEMPLATES.items()},
    "phi3_chat, end unknown": (*TEMPLATES["phi3_chat"], []),
    "llama3": (LLAMA3, "<|eot|>", ["<|bos|>", "<|eot|>", "<|head|>"]),
    "mistral": (MISTRAL, " </s>", ["<|bos|>", "</s>", "[INST]", "[/INST]"]),
    "thinking": (THINKING, "<|im_end|>", []),
    "own": (None, "<|im_end|>", []),
}
for path in (
    "qwen2_5_vl/chat_template.jinja",
    "qwen2_5_vl/chat_template_nosystem.jinja",
    "qwen3_vl/chat_template.jinja",
):
    CASES[path] = (PEER / path, "<|im_end|>", [])
TURNS = [("user", "What is it?"), ("assistant", "It is red."), ("user", "What?"), ("assistant", "It is [SEG].")]


@pytest.fixture(params=CASES)
def case(request, tokenizer):
    """An encoder and what closes its answers."""
    template, end, control = CASES[request.param]
    if isinstance(template, Path):
        if not template.is_file():
            pytest.skip("the stored templates of published models are not here")
        template = template.read_text()
    tokenizer.add_special_tokens({"additional_special_tokens": control}, replace_extra_special_tokens=False)
    return ChatEncoder(tokenizer, [tokenizer.convert_tokens_to_ids("[SEG]")], template), end


def test_answers_and_what_closes_them_are_learned(case, tokenizer):
    """One token behind an answer was learned. Of an end that a tokenizer spells out (Sa2VA-4B's `<|end|>`) that is
    `<`, of one behind a blank the blank: a model trained so does not stop."""
    encoder, end = case
    chat = encoder.encode(TURNS, encoder.control("<img></img>"), "closed")
    stretches, before = [], None
    for index, label in zip(chat.input_ids, chat.labels, strict=True):
        assert label in (-100, index)
        if label != -100:
            stretches = stretches if before not in (None, -100) else [*stretches, []]
            stretches[-1].append(index)
        before = label
    learned = [tokenizer.decode(stretch) for stretch in stretches]
    assert [text.strip() for text in learned] == [f"It is red.{end}", f"It is [SEG].{end}"]
    assert all(text.rstrip() == text or end.endswith(">") for text in learned)


def test_what_stands_before_an_answer_in_training_does_so_at_inference(case):
    """A template that opens an answer otherwise than it writes one teaches the model another place to speak."""
    encoder, _ = case
    for turns in (TURNS[:2], TURNS):
        chat = encoder.encode(turns, [], "closed")
        asked = encoder.encode(turns[:-1], [], "answer").input_ids
        assert chat.input_ids[: len(asked)] == asked
        assert chat.labels[len(asked)] != -100
        assert chat.labels[len(asked) - 1] == -100
