"""What exported folders answer where no `desa2va` can be imported, for `test_hub.py`.

Run as a program with a folder, a picture and a place to work in; writes one JSON. Twice, each time in a fork that has
loaded no model yet: with the folder, and with what the first saved of it.
"""

import json
import os
import sys
from pathlib import Path


class NoPackage:
    """Lets the package be absent."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"desa2va", "configuration", "processing", "modeling_desa2va"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NoPackage())

import torch  # noqa: E402
from transformers import AutoConfig, AutoModel, AutoProcessor, pipeline  # noqa: E402


def answer(folder, picture, target):
    """Loads a folder as remote code, answers one request about a picture, streams a video with the processor it finds
    beside the weights, saves everything again.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype="float32").eval()
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    assert isinstance(config, type(model.config)), "the configuration class exists twice"
    assert AutoModel.from_config(config, trust_remote_code=True).num_parameters() == model.num_parameters()
    inputs = processor(images=picture, text="the red square", task="segment")
    output = model.generate(**inputs, max_new_tokens=8)
    result = processor.post_process(output, inputs)[0]
    with model.stream([picture] * 3, "the red square", num_key_frames=2, max_new_tokens=8) as stream:
        frames = [seen.to_dict() for seen in stream]
    model.processor = processor
    model.save_pretrained(target)
    return {"result": result.to_dict(), "logits": output.track_logits[0].tolist(), "frames": frames}


def piped(folder, picture, target):
    """The pipeline of a folder: several rows, the same with a device map, and saved by the pipeline."""
    options = {"model": folder, "trust_remote_code": True, "max_new_tokens": 8}
    pipe = pipeline("referring-segmentation", device="cpu", **options)
    rows = [{"image": picture, "text": "the red square"}, {"video": [picture] * 2, "text": "the ring"}]
    results = pipe(rows, batch_size=2)
    mapped = pipeline("referring-segmentation", device_map={"": "cpu"}, dtype="float32", **options)
    assert mapped(picture, "the red square").to_dict() == results[0].to_dict()
    pipe.save_pretrained(target)
    return [result.to_dict() for result in results]


def forked(work):
    """What `work()` returns in a child."""
    source, target = os.pipe()
    if os.fork() == 0:
        code = 1
        try:
            with os.fdopen(target, "w") as out:
                json.dump(work(), out)
            code = 0
        except Exception:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(target)
    with os.fdopen(source) as heard:
        told = heard.read()
    assert os.wait()[1] == 0, "the child failed"
    return json.loads(told)


def main(folder, picture, work):
    """The folder, then what was saved of it by the model and by the pipeline."""
    folders, report = {answer: folder, piped: folder}, {}
    for turn in ("first", "second"):
        saved = {use: str(work / f"{use.__name__}_{turn}") for use in folders}
        both = {use: (place, picture, saved[use]) for use, place in folders.items()}
        report[turn] = forked(lambda both=both: {use.__name__: use(*words) for use, words in both.items()})
        folders = saved
    (work / "answers.json").write_text(json.dumps(report))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
