"""Is a file the published one? VLMEvalKit states the MD5 of each of its tables, ReVOS' page the SHA-256 of its files;
for other sets none was found.

Enters: a file. Leaves: an error where it is another: its figures would be of other data. (Engineering; no paper
section.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

VLMEVALKIT = {  # MD5
    "MMBench_DEV_EN.tsv": "b6caf1133a01c6bb705cf753bb527ed8",
    "MMBench_TEST_EN.tsv": "6939fadb0ce626fefc0bdc9c64efc528",
    "MMBench_DEV_CN.tsv": "08b8fc3324a5ed74155350f57be69fbd",
    "MMBench_TEST_CN.tsv": "7e1239baf0ee4c8b513e19705a0f317e",
    "MMBench_DEV_EN_V11.tsv": "30c05be8f2f347a50be25aa067248184",
    "MMBench_TEST_EN_V11.tsv": "26f0f15381a21720255091d3e0316ce6",
    "MMBench_DEV_CN_V11.tsv": "593f9b5f6bea453d870a798b34ae4f37",
    "MMBench_TEST_CN_V11.tsv": "74bbe4556dac745613c7cbe5ad787050",
    "SEEDBench_IMG.tsv": "68017231464752261a2526d6ca3a10c0",
    "ScienceQA_VAL.tsv": "96320d05e142e585e7204e72affd29f3",
    "ScienceQA_TEST.tsv": "e42e9e00f9c59a80d8a5db35bc32b71f",
    "AI2D_TEST.tsv": "0f593e0d1c7df9a3d69bf1f947e71975",
    "AI2D_TEST_NO_MASK.tsv": "fd8f463634d4fe9fbd23b876e8eea5be",
    "MMStar.tsv": "e1ecd2140806c1b1bbf54b43372efb9e",
    "MMMU_DEV_VAL.tsv": "521afc0f3bf341e6654327792781644d",
    "MME.tsv": "b36b43c3f09801f5d368627fb92187c3",
}
REVOS = {  # SHA-256
    "mask_dict.json": "e9b4310661495ddd47dedcac1e289621cf8f5dff89c0bb8b65f7699f748d5cff",
    "mask_dict_foreground.json": "05d9be5d7bbed03b216a457274022ad1c9e683b4ffdc32b19c60c5e797fd8f01",
    "meta_expressions_valid_.json": "291d1854eb860ebac5dd3870451bfc9a2bf002765efabf39bf5496bcb8e1f4b6",
}


def check_published(path: Path, sums: Mapping[str, str]) -> None:
    """Looks whether a file is the published one; an absent one is its reader's to tell.

    Args:
        path: of any file. sums: `VLMEVALKIT` or `REVOS`; a file of a name that is not there is anybody's own.

    Raises:
        ValueError: it has another content.
    """
    if path.name not in sums or not path.is_file():
        return
    expected = sums[path.name]
    name = "MD5" if len(expected) == 32 else "SHA-256"
    digest = hashlib.new(name.replace("-", ""), usedforsecurity=False)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    found = digest.hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is not the published file: its {name} is {found}, not {expected}, so its figures would "
            f"not compare with published ones; download {path.name} anew"
        )


__all__ = ["REVOS", "VLMEVALKIT", "check_published"]
