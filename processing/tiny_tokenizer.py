"""A tokenizer for the tiny presets: every word of a small corpus is one token, and any other text still encodes.

In: the words (or sentences) of a corpus, e.g. the vocabulary of RefShapes. Out: a `PreTrainedTokenizerFast` with the
chat markers of InternVL and the control tokens of DeSa2VA. Not part of the paper: it lets a model of a few million
parameters learn language from scratch, where a 150k vocabulary would be all of its weights.

The vocabulary is: nine control tokens, the 256 byte symbols (so that every string of every script has an encoding and
nothing is unknown), then the words of the corpus. There are no merges: the model is a byte-level BPE with
`ignore_merges`, which takes a word of the vocabulary whole and spells any other word in bytes.
"""

from __future__ import annotations

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD_TOKEN = "<pad>"
START_TOKEN = "<|im_start|>"
END_TOKEN = "<|im_end|>"
CONTROL_TOKENS = (PAD_TOKEN, START_TOKEN, END_TOKEN, "<img>", "</img>", "<IMG_CONTEXT>", "[SEG]", "<p>", "</p>")

# Words of the template and of the frame headings ("Frame1: ..."), which no corpus needs to list.
_TEMPLATE_WORDS = ("system", "user", "assistant", "Frame", *(str(number) for number in range(10)))

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}{{ '<IMG_CONTEXT>\n' }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _corpus_symbols(corpus: list[str]) -> list[str]:
    """Byte-level spellings of every word of the corpus, with and without the space before it, sorted."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    symbols: set[str] = set()
    for entry in corpus:
        for word in entry.split():
            for text in (word, " " + word):
                symbols.update(symbol for symbol, _ in splitter.pre_tokenize_str(text))
    return sorted(symbol for symbol in symbols if len(symbol) > 1)


def build_tiny_tokenizer(corpus: list[str], max_size: int | None = None) -> PreTrainedTokenizerFast:
    """Builds the tokenizer of the tiny presets. Deterministic: equal corpora (as sets of words) give equal ids.

    Args:
        corpus: words, phrases or sentences. Each word becomes one token at the start of a text and one after a space,
            in the spelling (case included) in which it stands here. Punctuation splits words, as in GPT-2.
        max_size: upper bound of the vocabulary; `None` for no bound.

    Returns:
        `PreTrainedTokenizerFast`: `<|im_end|>` ends a sequence, `<pad>` (id 0) pads it, the template is ChatML.

    Raises:
        ValueError: the corpus is a single string, or needs more than `max_size` entries.
    """
    if isinstance(corpus, str):
        raise ValueError("corpus must be a list of strings, got one string; pass [text]")
    symbols = [
        *CONTROL_TOKENS,
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *_corpus_symbols([*_TEMPLATE_WORDS, *corpus]),
    ]
    if max_size is not None and len(symbols) > max_size:
        raise ValueError(f"the corpus needs {len(symbols)} vocabulary entries, more than max_size={max_size}")
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=END_TOKEN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "seg_token": "[SEG]",
        },
    )


def is_tiny_tokenizer(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether a tokenizer is one of `build_tiny_tokenizer`: a vocabulary of words, nothing to merge."""
    kind = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    return kind["type"] == "BPE" and not kind["merges"] and bool(kind["ignore_merges"])


def extend_tiny_tokenizer(tokenizer: PreTrainedTokenizerFast, words: list[str]) -> dict[int, list[int]]:
    """Adds words to a tiny tokenizer, in place, behind all ids it has: no id of a known word changes.

    Args:
        tokenizer: of `build_tiny_tokenizer`, trained or not.
        words: as its corpus. Each becomes one token at the start of a text and one after a space; those it has are
            passed over.

    Returns:
        For each new id, in rising order, the ids that spelled its text before.
    """
    known = tokenizer.get_vocab()
    symbols = [symbol for symbol in _corpus_symbols(words) if symbol not in known]
    texts = [tokenizer.convert_tokens_to_string([symbol]) for symbol in symbols]
    spelled = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    first = max(known.values()) + 1
    # Tokens that were added behind the vocabulary become part of it: when read again, they would move to its new end.
    vocabulary = {**known, **{symbol: first + number for number, symbol in enumerate(symbols)}}
    tokenizer.backend_tokenizer.model = models.BPE(vocab=vocabulary, merges=[], ignore_merges=True)
    return {first + number: ids for number, ids in enumerate(spelled)}


__all__ = [
    "CHAT_TEMPLATE",
    "CONTROL_TOKENS",
    "build_tiny_tokenizer",
    "extend_tiny_tokenizer",
    "is_tiny_tokenizer",
]
