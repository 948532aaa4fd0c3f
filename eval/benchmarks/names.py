"""The benchmarks by name: data set, split and whoever made the split, which are part of a score's name.

Enters: a name. Leaves: the `Benchmark` of its family's module. Imports nothing heavy, so `--help` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FAMILIES = {
    "referring_pictures": (
        "refcoco-unc-val",
        "refcoco-unc-testA",
        "refcoco-unc-testB",
        "refcoco-google-val",
        "refcoco-google-test",
        "refcoco+-unc-val",
        "refcoco+-unc-testA",
        "refcoco+-unc-testB",
        "refcoco+-google-val",
        "refcoco+-google-test",
        "refcocog-umd-val",
        "refcocog-umd-test",
        "refcocog-google-val",
    ),
    "refcoco_m": ("refcoco_m-validation",),
    "generalized_pictures": ("grefcoco-unc-val", "grefcoco-unc-testA", "grefcoco-unc-testB"),
    "multiple_choice": (
        "mmbench-dev_en",
        "mmbench-dev_cn",
        "mmbench_v11-dev_en",
        "mmbench_v11-dev_cn",
        "mmbench-test_en",
        "mmbench-test_cn",
        "mmbench_v11-test_en",
        "mmbench_v11-test_cn",
        "seed_bench-image",
        "seed_bench-video",
        "ai2d-test",
        "ai2d-test_no_mask",
        "mmstar-val",
        "scienceqa-val",
        "scienceqa-test",
    ),
    "mme": ("mme-test",),
    "mmmu": ("mmmu-validation", "mmmu-dev"),
    "video_mme": ("video_mme-without_subtitles", "video_mme-with_subtitles"),
    "mmbench_video": ("mmbench_video-test",),
    "region_captions": ("refcocog_regions-val",),
    "reasoning_pictures": ("reasonseg-val", "reasonseg-test"),
    "referring_videos": ("mevis-valid_u", "mevis-valid", "ref_youtube_vos-valid", "ref_sav-valid"),
    "revos": ("revos-valid",),
    "grounded_pictures": ("gcg-val", "gcg-test"),
    "ref_davis17": ("ref_davis17-valid",),
    "refshapes_pictures": tuple(
        f"refshapes-{level}-{split}" for split in ("test", "validation") for level in ("easy", "standard", "full")
    ),
}
BENCHMARKS = {name: family for family, names in _FAMILIES.items() for name in names}
JUDGED = _FAMILIES["mmbench_video"]
ROBUSTNESS = "robustness"
BASELINES = ("whole", "box", "point", "cascade", "key_frames")


def open_benchmark(name: str) -> Any:
    """The `Benchmark` of a name in `BENCHMARKS`, or of such a name behind `ROBUSTNESS` and a hyphen."""
    if name.startswith(f"{ROBUSTNESS}-"):
        return import_module(".robustness", __package__).benchmark(name)
    return import_module(f".{BENCHMARKS[name]}", __package__).benchmark(name)


__all__ = ["BASELINES", "BENCHMARKS", "ROBUSTNESS", "open_benchmark"]
