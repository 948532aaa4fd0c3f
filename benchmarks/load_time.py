"""What does reading a published checkpoint cost beside reading its files alone?

Enters: a folder for a Sa2VA of the 1B model's dimensions with random weights (written where it is absent: bfloat16,
shards of half a gigabyte, about 2.4 GB). Leaves: seconds and peak memory of our loader and of safetensors alone, each
in a process of its own, best of several, with the files in the page cache.

    python -m benchmarks.load_time /tmp/sa2va-1b --json load_time.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

SHARD_BYTES = 512 * 1024**2


def write_checkpoint(folder: Path) -> None:
    """The folder, tensor by tensor: the model itself is never built."""
    import torch
    from safetensors.torch import save_file

    from desa2va.configuration.presets import preset_config
    from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
    from tests.modeling_desa2va.conversion import published
    from tests.modeling_desa2va.conversion.published_configs import internvl_files, published_sam_config

    config = preset_config("1b", prompt_mode="sa2va", projection="mlp", fusion="mean")
    config.sam_config = published_sam_config("large", "2.0")
    with torch.device("meta"):
        model = DeSa2VAModel(config)
    text, vision = config.get_text_config(), config.mllm_config.vision_config
    state = published.sa2va_state(model, "qwen2", text.num_attention_heads, text.num_key_value_heads)
    folder.mkdir(parents=True)
    files = internvl_files("qwen2", 14, 2, text.vocab_size, False) | {"model_type": "sa2va_chat"}
    for part, known in (("llm_config", text), ("vision_config", vision)):
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        files[part] |= {name: getattr(known, name) for name in names}
    published.write_json(folder / "config.json", files | {"template": "qwen_chat"})
    published.save_tokenizer(folder, "qwen2")
    weight_map: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    for position, (name, value) in enumerate(state.items()):
        shard[name] = torch.randn(value.shape, dtype=torch.bfloat16).mul_(0.02)
        size = sum(tensor.numel() * 2 for tensor in shard.values())
        if size > SHARD_BYTES or position == len(state) - 1:
            file = f"model-{len(set(weight_map.values())) + 1:05}.safetensors"
            save_file(shard, folder / file)
            weight_map |= dict.fromkeys(shard, file)
            shard = {}
    published.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def read_alone(folder: Path) -> None:
    """Every tensor into memory of its own, as a model would hold it."""
    from safetensors.torch import load_file

    kept = {}
    for file in sorted(folder.glob("*.safetensors")):
        kept |= {name: value.clone() for name, value in load_file(file).items()}


def read_as_model(folder: Path) -> None:
    """Our loader, in the stored dtype, every weight touched once."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.modeling_desa2va.conversion import load_sa2va, read_tokenizer

    disable_progress_bar()
    model = load_sa2va(folder, read_tokenizer(folder))
    for value in model.state_dict().values():
        value.flatten()[::512].sum()  # a page of a mapped file is read when it is touched


WAYS = {"safetensors": read_alone, "model": read_as_model}


def measure(folder: Path, way: str) -> dict[str, float]:
    """Seconds and gigabytes of one way, in this process. Imports are not counted."""
    import torch

    import desa2va.hub  # noqa: F401  (what both ways import is there before the clock starts)
    import desa2va.modeling_desa2va.conversion  # noqa: F401

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    WAYS[way](folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": round(seconds, 2), "peak_gigabytes": round(peak * 1024 / 1e9, 2)}


def main() -> None:
    """Write, measure in turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.folder, args.way)))
        return
    if not args.folder.exists():
        write_checkpoint(args.folder)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(args.repeats):
        for way, known in runs.items():
            command = [sys.executable, "-m", "benchmarks.load_time", str(args.folder), "--way", way]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            known.append(json.loads(done.stdout.splitlines()[-1]))
    best = {way: min(known, key=lambda run: run["seconds"]) for way, known in runs.items()}
    report = {
        "bytes": sum(file.stat().st_size for file in args.folder.glob("*.safetensors")),
        "best": best,
        "time_ratio": round(best["model"]["seconds"] / best["safetensors"]["seconds"], 2),
        "runs": runs,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
