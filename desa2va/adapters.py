"""What a training with LoRA learned, as a small folder in peft's format beside the model it was learned on.

What enters: the LoRA matrices and `[SEG]` rows of the language model, and the heads as they are now. What leaves:
`adapter_config.json` and `adapter_model.safetensors`, which `PeftModel.from_pretrained`, `model.load_adapter` and
`desa2va.load` read; or a model with an adapter merged into its weights. (Engineering; METHOD section 5, phases 2, 3.)
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import errors, hf_hub_download, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .card import read_metadata, write_adapter_card
from .model_files import locate, named_in_errors, resolve

if TYPE_CHECKING:  # read where it is used: every model asks whether it is an adapter, few are
    from peft import LoraConfig, PeftConfig, PeftModel

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
FIELDS_FILE = "desa2va_fields.json"
# Learned anew in every training and a few million parameters together: kept whole, beside LoRA.
HEADS = ("decoupling", "fusion", "segmenter.text_decoder", "segmenter.visual_decoder")
TARGETS = (
    r".*language_model\.layers\.\d+\."
    r"(self_attn\.(q|k|v|o)_proj|linear_attn\.(in_proj_qkv|in_proj_z|out_proj)|mlp\.(gate|up|down)_proj)"
)
_PREFIX = "base_model.model."  # of every name in a file of peft's
# Written by transformers, not by whoever trained.
_NO_FIELDS = {
    "mllm_config",
    "sam_config",
    "auto_map",
    "custom_pipelines",
    "architectures",
    "dtype",
    "transformers_version",
}


def lora_config(model: DeSa2VAModel, rank: int = 128, alpha: int = 256, dropout: float = 0.0) -> LoraConfig:
    """LoRA on the language layers, the rows of `[SEG]` in embeddings and output head, and the heads in full.

    Args:
        model: whose modules are meant. rank, alpha: of LoRA; Sa2VA's are the defaults. dropout: of what enters it.

    Returns:
        For `with_adapter(model, ...)`, or peft's `get_peft_model`.
    """
    from peft import LoraConfig

    rows = list(model.config.seg_token_ids)
    tied = model.config.tie_word_embeddings
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=TARGETS,
        trainable_token_indices={"embed_tokens": rows} if tied else {"embed_tokens": rows, "lm_head": rows},
        modules_to_save=heads_of(model),
    )


def with_adapter(model: torch.nn.Module, config: PeftConfig) -> PeftModel:
    """What peft's `get_peft_model` gives, without a warning of transformers about a name that peft asks it for."""
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        return get_peft_model(model, config)


def heads_of(model: DeSa2VAModel) -> list[str]:
    """Those of `HEADS` that `model` has weights in."""
    return [name for name in HEADS if any(key.startswith(f"{name}.") for key in model.state_dict())]


def changed_fields(model: DeSa2VAModel, base: str) -> dict[str, Any]:
    """Fields of the configuration that training changed, such as `num_reprompts`."""
    own, before = (config.to_dict() for config in (model.config, DeSa2VAConfig.from_pretrained(base)))
    return {
        name: value
        for name, value in own.items()
        if not name.startswith("_") and name not in _NO_FIELDS and before.get(name) != value
    }


def write_adapter(
    folder: Path, model: DeSa2VAModel, lora: LoraConfig, weights: dict[str, torch.Tensor], base: str
) -> None:
    """Writes an adapter of `base`: `weights` of LoRA and of the `[SEG]` rows, and the heads of `model`.

    Args:
        folder: is made. model: as trained; merged or not, its heads are read only. lora: of the language model.
        weights: as peft names them around the whole model. base: a Hub id, a shipped model's name or a folder.
    """
    config = copy.deepcopy(lora)
    config.modules_to_save = heads_of(model)
    config.base_model_name_or_path = str(Path(base).expanduser().resolve()) if Path(base).is_dir() else base
    # Through transformers' registry: peft imports nothing else unasked.
    config.auto_mapping = {"base_model_class": "AutoModel", "parent_library": "transformers"}
    config.inference_mode = True
    heads = {
        _PREFIX + name: value
        for name, value in model.state_dict().items()
        if name.startswith(tuple(f"{head}." for head in config.modules_to_save))
    }
    folder.mkdir(parents=True)
    whole = {name: value.detach().cpu().contiguous() for name, value in (weights | heads).items()}
    save_file(whole, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config.save_pretrained(str(folder))
    fields = changed_fields(model, resolve(base))
    if fields:
        (folder / FIELDS_FILE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    write_adapter_card(folder, config.base_model_name_or_path, _card_of(base))


def _card_of(base: str) -> dict[str, Any]:
    """What the card of the base model states; nothing where it has none, or can not be reached."""
    place = locate(base)
    if Path(place).is_dir():
        return read_metadata(place)
    try:
        return read_metadata(Path(hf_hub_download(place, "README.md")).parent)
    except (errors.HfHubHTTPError, errors.EntryNotFoundError, OSError, ValueError):
        return {}


def find_adapter(name: str | os.PathLike, **options: Any) -> Path | None:
    """The folder of an adapter that is called `name`, `None` where a model is.

    Args:
        name: as `resolve` takes it. **options: `revision`, `token`, `cache_dir`, `local_files_only`.
    """
    path = Path(os.path.expanduser(os.fspath(name)))
    if path.is_dir():
        return path if (path / CONFIG_FILE).is_file() and not (path / "config.json").exists() else None
    found = locate(name)
    if Path(found).is_dir():
        return None
    try:
        hf_hub_download(found, CONFIG_FILE, **options)
    except (errors.HfHubHTTPError, errors.EntryNotFoundError, errors.LocalEntryNotFoundError, OSError, ValueError):
        return None  # whatever is wrong with the name, loading it as a model says so
    return Path(snapshot_download(found, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, FIELDS_FILE], **options))


def read_adapter_config(folder: Path) -> tuple[PeftConfig, dict[str, Any]]:
    """The configuration of an adapter, and the fields of the model's configuration that go with it.

    Raises:
        ValueError: a file that is damaged, or an adapter that names no base model.
    """
    from peft import PeftConfig

    with named_in_errors(str(folder), "adapter"):
        config = PeftConfig.from_pretrained(str(folder))
        fields = {}
        if (folder / FIELDS_FILE).is_file():
            fields = json.loads((folder / FIELDS_FILE).read_text(encoding="utf-8"))
        known = vars(DeSa2VAConfig())
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise ValueError(f"{FIELDS_FILE} names {unknown[0]}, which is no field of DeSa2VAConfig")
    return config, fields


def merge_adapter(model: DeSa2VAModel, folder: Path, config: PeftConfig) -> DeSa2VAModel:
    """The model with the adapter in `folder` in its weights; it needs no peft afterwards.

    Raises:
        ValueError: an adapter of another model: a tensor that is missing, unknown, of another shape or not finite.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    processor = model.processor
    with named_in_errors(str(folder), "adapter"):
        try:
            weights = load_file(folder / WEIGHTS_FILE)
        except SafetensorError as error:
            raise ValueError(f"{WEIGHTS_FILE} is damaged or cut off ({error})") from error
        config.base_model_name_or_path = model.name_or_path
        wrapped = with_adapter(model, config)
        own = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        _check_weights(own, weights)
        set_peft_model_state_dict(wrapped, weights)
        merged = wrapped.merge_and_unload()
    merged.processor = processor
    return merged.requires_grad_(True)


def _check_weights(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    for name in sorted(own.keys() | found.keys()):
        short = name.removeprefix(_PREFIX)
        if name not in found:
            raise ValueError(f"{WEIGHTS_FILE} lacks {short}, which the base model needs; it is of another model")
        if name not in own:
            raise ValueError(f"{WEIGHTS_FILE} holds {short}, which the base model does not know")
        if own[name].shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)} in place of {tuple(own[name].shape)}"
            raise ValueError(f"{WEIGHTS_FILE}: {short} is {shapes}; it is of another model")
        if not found[name].isfinite().all():
            raise ValueError(f"{WEIGHTS_FILE}: {short} holds numbers that are not finite")


__all__ = [
    "TARGETS",
    "find_adapter",
    "heads_of",
    "lora_config",
    "merge_adapter",
    "read_adapter_config",
    "with_adapter",
    "write_adapter",
]
