"""What a processor carries from call to call: nothing that a copy, a pickle, a cache or another thread would see."""

import os
import pickle
import subprocess
import sys
import threading

import PIL.Image
import pytest
from datasets import Dataset, Features, Image, Sequence, Value
from datasets.fingerprint import Hasher

from desa2va.processing.processing_desa2va import DeSa2VAProcessor

CONTROL = "<|im_start|>user\n"


def use(processor, picture):
    """Calls that once left something behind: a batch, a text beyond the tokenizer's length, a rendered template."""
    processor.tokenizer.model_max_length = 16
    processor(images=picture, text=["it " * 40, "[SEG] is it"])
    processor.tokenizer.apply_chat_template([{"role": "user", "content": "It"}], tokenize=False)


@pytest.mark.parametrize("kind", ["tiny", "qwen"])
def test_calls_do_not_change_the_hash(kind, request, picture):
    """`datasets` knows its cache by the hash of the processor; a changed one computes everything again."""
    processor = request.getfixturevalue(kind)
    processor.tokenizer.model_max_length = 16
    before, pickled = Hasher.hash(processor), pickle.dumps(processor)
    use(processor, picture)
    assert Hasher.hash(processor) == before
    assert pickle.dumps(processor) == pickled


def test_a_fresh_process_has_the_same_hash(tiny, picture, tmp_path):
    tiny.save_pretrained(tmp_path)
    loaded = DeSa2VAProcessor.from_pretrained(tmp_path, local_files_only=True)
    expected = Hasher.hash(loaded)
    use(loaded, picture)
    loaded = DeSa2VAProcessor.from_pretrained(tmp_path, local_files_only=True)
    script = (
        "from datasets.fingerprint import Hasher\n"
        "from desa2va.processing.processing_desa2va import DeSa2VAProcessor\n"
        f"processor = DeSa2VAProcessor.from_pretrained({str(tmp_path)!r}, local_files_only=True)\n"
        "processor(text='What is it?')\n"
        "print(Hasher.hash(processor))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == expected == Hasher.hash(loaded)


def test_datasets_map_finds_its_cache_and_runs_in_processes(tiny, picture, tmp_path):
    """With several processes the function, and in it the processor, is pickled by `dill`."""
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "a.png")}] * 4, "question": ["What is it?"] * 4}
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    features = Features({"image": Image(), "question": Value("string")})
    path = str(tmp_path / "rows")
    Dataset.from_dict(rows, features=features).save_to_disk(path)
    wanted = Features({**features, "input_ids": Sequence(Value("int64"))})

    def encode(row):
        return {"input_ids": tiny(images=row["image"], text=row["question"])["input_ids"][0]}

    def run(**options):
        mapped = Dataset.load_from_disk(path).map(encode, features=wanted, **options)
        assert mapped[3]["input_ids"] == tiny(images=picture, text="What is it?")["input_ids"][0].tolist()
        return [entry["filename"] for entry in mapped.cache_files]

    first, written = run(), set(os.listdir(path))
    assert run() == first
    assert set(os.listdir(path)) == written
    run(num_proc=2, load_from_cache_file=False)


def test_fields_that_change_between_calls_count(tiny, picture):
    """What was built at the first call once stayed, and a smaller `max_length` was not heard."""
    tiny(images=picture, text="it")
    tiny.max_length = 5
    with pytest.raises(ValueError, match="more than max_length=5"):
        tiny(images=picture, text="it")
    tiny.max_length = 100
    tiny.tokenizer.add_tokens(["zebra"])
    assert tiny.tokenizer.convert_tokens_to_ids("zebra") not in tiny(text="zebra")["input_ids"][0]


def test_threads_do_not_mix_control_text_and_words(tiny):
    """The tokenizer keeps whether control tokens are spelled out: a second thread once changed it half-way, so that
    the template lost its control tokens (16 of 6,000 calls)."""
    encoder, wrong = tiny.assembler.encoder, []
    expected, spelled = encoder.control(CONTROL), encoder.plain(CONTROL)

    def write_control():
        for _ in range(500):
            encoder._control_cache.clear()
            if encoder.control(CONTROL) != expected:
                wrong.append("control")

    def write_words():
        for _ in range(500):
            encoder._plain_cache.clear()
            if encoder.plain(CONTROL) != spelled:
                wrong.append("words")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=task) for task in (write_control, write_words) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
