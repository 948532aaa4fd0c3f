"""What a user does with the Hub, for tests that run it with HF_ENDPOINT set; writes what it saw as JSON."""

import json
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import constants
from peft import get_peft_model

import desa2va
from desa2va.adapters import lora_config
from desa2va.training.data.build import open_dataset
from desa2va.training.train import run_recipe

constants.DOWNLOAD_CHUNK_SIZE = 100_000  # of ten megabytes, nothing of a tiny model would be kept


def numbers(model):
    """A digest of the heads and the language layers."""
    named = dict(model.named_parameters())
    names = ("decoupling.text.layers.0.weight", "mllm.model.language_model.layers.0.self_attn.q_proj.weight")
    return [float(named[name].double().sum()) for name in names]


def refusal(work):
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"


def move(model):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and ("lora" in name or "decoupling" in name):
                weight.add_(0.01)


def online(folder):
    """Uploads, downloads, a new revision, an adapter, refusals."""
    seen = {}
    model, _ = desa2va.load(folder, device="cpu")
    seen["own"] = numbers(model)
    seen["commit"] = model.push_to_hub("owner/tiny", token="hf_good").rpartition("/")[2]
    seen["bad push"] = refusal(lambda: model.push_to_hub("owner/tiny", token="hf_bad"))
    seen["loaded"] = numbers(desa2va.load("owner/tiny", device="cpu")[0])
    with torch.no_grad():
        model.decoupling.text.layers[0].weight.add_(1.0)
    seen["second"] = numbers(model)
    model.push_to_hub("owner/tiny", token="hf_good")
    seen["newest"] = numbers(desa2va.load("owner/tiny", device="cpu")[0])
    seen["first again"] = numbers(desa2va.load("owner/tiny", device="cpu", revision=seen["commit"])[0])
    wrapped = get_peft_model(desa2va.load("owner/tiny", device="cpu")[0], lora_config(model, 2, 4))
    move(wrapped)
    wrapped.push_to_hub("owner/tiny-adapter", token="hf_good")
    seen["trained"] = numbers(wrapped.merge_and_unload())
    seen["adapter"] = numbers(desa2va.load("owner/tiny-adapter", device="cpu")[0])
    refused = {
        "bad load": ("owner/tiny", {"token": "hf_bad", "cache_dir": tempfile.mkdtemp()}),
        "gated": ("owner/gated", {}),
    }
    refused |= {"missing": ("owner/none", {}), "revision": ("owner/tiny", {"revision": "nowhere"})}
    for name, (repository, options) in {**refused, "lost base": ("owner/orphan", {})}.items():
        seen[name] = refusal(lambda: desa2va.load(repository, device="cpu", **options))  # noqa: B023
    return seen


def offline():
    """What is in the cache."""
    lost = refusal(lambda: desa2va.load("owner/elsewhere", device="cpu"))
    return {
        "newest": numbers(desa2va.load("owner/tiny", device="cpu")[0]),
        "adapter": numbers(desa2va.load("owner/tiny-adapter", device="cpu")[0]),
        "lost": lost,
    }


def published():
    """A published Sa2VA by its id, its SAM-2 by another, an older revision, what is refused."""
    first, second, sam2 = "ByteDance/Sa2VA-fixture", "OpenGVLab/fixture", "facebook/fixture"
    seen = {"mapped": read(first), "with sam2": read(first, sam2=sam2), "pair": read(second, sam2=sam2)}
    seen["older"] = read(first, revision="1" * 40)
    refused = {"gated": ("ByteDance/gated", {}), "missing": ("ByteDance/none", {}), "alone": (second, {})}
    refused |= {"revision": (first, {"revision": "nowhere"}), "gated sam2": (first, {"sam2": "ByteDance/gated"})}
    refused |= {"missing sam2": (first, {"sam2": "facebook/none"})}
    for name, (repository, options) in refused.items():
        seen[name] = refusal(lambda: read(repository, **options))  # noqa: B023
    return seen


def published_offline():
    """The same from the cache."""
    first, sam2 = "ByteDance/Sa2VA-fixture", "facebook/fixture"
    return {"mapped": read(first), "with sam2": read(first, sam2=sam2), "older": read(first, revision="1" * 40)}


def read(name, **options):
    """Sums that tell weights apart, and how videos are tracked."""
    model, _ = desa2va.load(name, device="cpu", **options)
    named = model.state_dict()
    names = ("decoupling.visual.layers.0.weight", "segmenter.sam.no_memory_embedding")
    return [*(float(named[name].double().sum()) for name in names if name in named), model.config.track_strategy]


def tables(folder):
    """Data sets by their names: streamed, whole, with videos; a step of a training; what is refused."""
    shapes, clips = "hub:owner/shapes", "hub:owner/clips"
    seen = {"streamed": samples(shapes, streamed=True), "whole": samples(shapes)}
    seen |= {"clips": samples(clips), "clips streamed": samples(clips, streamed=True)}
    step = {"phase": "decoupling", "language_model": "frozen", "weights": {"visual_mask": 1.0}, "warm_start": []}
    step |= {"max_steps": 2, "per_device_train_batch_size": 2, "dataloader_num_workers": 1, "save_strategy": "no"}
    data = {"dataset": shapes, "options": {"streamed": True}}
    config = {"init_from": "desa2va-tiny", "output_dir": f"{folder}/run", "data": data}
    run_recipe({**config, "training": {**step, "use_cpu": True, "disable_tqdm": True}})
    seen["steps"] = json.loads(Path(folder, "run", "stage.json").read_text())["steps"]
    seen |= {name: refusal(lambda: samples(f"hub:owner/{name}")) for name in ("none", "gated")}  # noqa: B023
    return seen


def samples(name, **options):
    """Of every sample its text, its size, the mean of its first frame, and the pixels of its masks."""
    return sorted(
        [
            sample.conversations[0].labels[0],
            list(sample.frames.shape),
            float(sample.frames[0].mean()),
            sample.conversations[0].masks[0].sum(axis=(1, 2)).tolist(),
        ]
        for sample in iterated(open_dataset(name, **options))
    )


def iterated(dataset):
    return dataset if not hasattr(dataset, "__len__") else (dataset[index] for index in range(len(dataset)))


MODES = {
    "online": lambda folder: {"own": online(folder), "published": published()},
    "offline": lambda folder: {"own": offline(), "published": published_offline()},
    "tables": tables,
    "tables offline": lambda folder: samples("hub:owner/shapes"),
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(MODES[sys.argv[1]](sys.argv[2])) + "\n")
