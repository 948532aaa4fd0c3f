"""One processor: pictures, videos, text and clicks to one batch for the language model and for SAM-2.

In: user inputs (`__call__`) or training samples (`collate`). Out: the tensors that `DeSa2VAModel` takes.
Paper section 3.1: the picture goes both to the language model and, at its own resolution, to SAM-2.
"""

from __future__ import annotations

import inspect
import math
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import ProcessorMixin

from desa2va.configuration.integers import as_integer
from desa2va.flat_export import FlatExportMixin

from .batch import (
    FRAME_LABELS,
    PLACEHOLDERS,
    BatchAssembler,
    BatchPlan,
    CallOptions,
    ChatEncoder,
    ChatTemplateMixin,
    Check,
    DeSa2VABatch,
    TrainingBatchMixin,
    ask_back,
    check_aspect_ratio,
    default_labels,
    describe_visuals,
    open_visuals,
    plan_inference,
    plan_requests,
    prompts_of_visuals,
    read_options,
    refuse_rendered,
    region_cells,
    rendered_dialogues,
    sa2va_sequence,
    texts_of,
)
from .files import MaskOptions
from .inputs import Dialogue, parse_messages, prompts_suffice, refuse_without_video, sam_prompts
from .results import AnswerParser, SegmentationResult, build_results

SEG = "[SEG]"
GCG_INSTRUCTION = (
    "Please describe the image in detail and respond with interleaved segmentation masks for the corresponding parts "
    "of the answer."
)

_NO_OUTLINES = (
    "points, boxes and masks beside words are outlined for the language model, and Sa2VA's published models never saw "
    "outlines; those with InternVL take regions as predict_forward(mask_prompts=...), those with Qwen-VL none"
)
KEY_FRAMES = ("uniform", "first", "all")
# Least and most. The most is what no use needs, so that a slip of the keyboard does not fill the memory.
INTEGERS = {
    "image_seq_length": (1, 2**14),
    "merge_size": (1, 16),
    "max_tiles": (1, 256),
    "num_seg_frames": (1, 64),
    "num_key_frames": (1, 1024),
    "max_length": (1, 2**20),
}
# Not attributes: they would travel with every copy and change the hash by which `datasets` knows its cache.
_ASSEMBLERS: WeakKeyDictionary[DeSa2VAProcessor, tuple[Any, BatchAssembler]] = WeakKeyDictionary()


class DeSa2VAProcessor(ChatTemplateMixin, TrainingBatchMixin, FlatExportMixin, ProcessorMixin):
    """Builds batches for `DeSa2VAModel`.

    Args:
        image_processor: the language model's: `GotOcr2ImageProcessor` (InternVL) or `Qwen2VLImageProcessor`.
        tokenizer: the language model's, with the tokens of `seg_tokens` added as special tokens.
        sam_image_processor: a stock `Sam2ImageProcessor`; its size is SAM-2's `image_size`.
        mllm_type: `"internvl"`, `"qwen2_5_vl"`, `"qwen3_vl"` or `"qwen3_5"`; decides placeholders and pixel layout.
        image_seq_length: tokens of one InternVL tile.
        merge_size: side of the square of Qwen patches that one token stands for.
        max_tiles: most tiles a picture is cut into (InternVL; frames of a video are never cut). 1: no tiling.
        seg_tokens: the segmentation tokens: `["[SEG]"]`, or `num_seg_frames` tokens with `seg_design="unique"`.
        seg_design: `"single"`, `"repetitive"` or `"unique"`: what one `"[SEG]"` of an answer expands to.
        num_seg_frames: tokens per object with `"repetitive"` and `"unique"`.
        key_frames: how the key frames of a video are chosen: `"uniform"`, `"first"` or `"all"`.
        num_key_frames: how many.
        max_length: longest sequence in tokens; longer ones are an error, nothing is cut off.
        gcg_instruction: appended to the text with `task="gcg"`; the whole text where none is given.
        stop_strings: texts that end an answer where no control token does (a prompt format without one).
        prompt_rule: `"native"`, or `"sa2va"`: prompts as Sa2VA's published models know them.
        frame_labels: what stands in front of each frame of a video: `"number"` (`Frame1: `; InternVL's default),
            `"time"` (`<0.5 seconds>`; Qwen-VL's default) or `"none"`. 24 frames a second are assumed of videos that do
            not know their rate. With `prompt_rule="sa2va"` there are none.
        chat_template: overrides the tokenizer's.

    Raises:
        ValueError: unknown `mllm_type`, `seg_design` or `key_frames`, a number outside `INTEGERS`, or a control token
            missing from the tokenizer.
    """

    _export_json = "processor_config.json"
    _export_classes = {"AutoProcessor": "DeSa2VAProcessor"}

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        sam_image_processor: Any = None,
        mllm_type: str = "internvl",
        image_seq_length: int = 256,
        merge_size: int = 2,
        max_tiles: int = 12,
        seg_tokens: list[str] | None = None,
        seg_design: str = "single",
        num_seg_frames: int = 1,
        key_frames: str = "uniform",
        num_key_frames: int = 5,
        max_length: int = 8192,
        gcg_instruction: str = GCG_INSTRUCTION,
        stop_strings: list[str] | None = None,
        prompt_rule: str = "native",
        frame_labels: str | None = None,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(image_processor, tokenizer, sam_image_processor, chat_template=chat_template)
        self.mllm_type = mllm_type
        self.image_seq_length = image_seq_length
        self.merge_size = merge_size
        self.max_tiles = max_tiles
        self.seg_tokens = [SEG] if seg_tokens is None else seg_tokens
        self.seg_design = seg_design
        self.num_seg_frames = num_seg_frames
        self.key_frames = key_frames
        self.num_key_frames = num_key_frames
        self.max_length = max_length
        self.gcg_instruction = gcg_instruction
        self.stop_strings = list(stop_strings or ())
        self.prompt_rule = prompt_rule
        self.frame_labels = default_labels(mllm_type, prompt_rule) if frame_labels is None else frame_labels
        self._check()

    def _check(self) -> None:
        """Raises `ValueError` for fields that are absurd, or can not work together."""
        for name in ("image_processor", "tokenizer", "sam_image_processor"):
            if not hasattr(getattr(self, name), "save_pretrained"):
                raise ValueError(f"the processor has no {name}, got {type(getattr(self, name)).__name__}")
        for name, (least, most) in INTEGERS.items():
            setattr(self, name, as_integer(getattr(self, name), name, least, most))
        tokens = self.seg_tokens
        if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"seg_tokens={tokens!r:.60} must be a list of texts")
        self.seg_tokens = list(tokens)
        if not isinstance(self.gcg_instruction, str) or not isinstance(self.chat_template, str | dict | None):
            raise ValueError("gcg_instruction must be a text, and chat_template one or null")
        if self.key_frames not in KEY_FRAMES:
            raise ValueError(f"key_frames={self.key_frames!r:.40} is unknown; choose one of {', '.join(KEY_FRAMES)}")
        self._check_parts()

    def _check_parts(self) -> None:
        """Design, image processor and tokenizer fit each other."""
        if self.mllm_type not in PLACEHOLDERS:
            raise ValueError(f"mllm_type={self.mllm_type!r} is unknown; choose one of {', '.join(PLACEHOLDERS)}")
        if self.seg_design not in ("single", "repetitive", "unique"):
            raise ValueError(f"seg_design={self.seg_design!r} is unknown; choose single, repetitive or unique")
        if self.prompt_rule not in ("native", "sa2va"):
            raise ValueError(f"prompt_rule={self.prompt_rule!r} is unknown; choose native or sa2va")
        if self.frame_labels not in FRAME_LABELS:
            raise ValueError(f"frame_labels={self.frame_labels!r:.40} is unknown; choose number, time or none")
        if self.prompt_rule == "sa2va" and self.frame_labels != "none":
            raise ValueError(f"frame_labels={self.frame_labels!r}: prompts by Sa2VA's rule have none")
        expected = self.num_seg_frames if self.seg_design == "unique" else 1
        if len(self.seg_tokens) != expected:
            raise ValueError(f"seg_design={self.seg_design!r} needs {expected} seg_tokens, got {self.seg_tokens}")
        merge_size = self.image_processor.to_dict().get("merge_size")
        if self.mllm_type != "internvl" and self.merge_size != merge_size:
            raise ValueError(
                f"merge_size={self.merge_size}, but {type(self.image_processor).__name__} has {merge_size}; "
                f"mllm_type={self.mllm_type!r} needs the image processor of Qwen-VL and its merge_size"
            )
        tokens = (*self.seg_tokens, *PLACEHOLDERS[self.mllm_type])
        # A vocabulary may list what its rules never make of a text.
        missing = [token for token in tokens if self.tokenizer.tokenize(token) != [token]]
        if missing:
            raise ValueError(
                f"the tokenizer lacks {missing}, or spells them with several tokens; add segmentation tokens with "
                "tokenizer.add_special_tokens({'additional_special_tokens': [...]}) and resize the embeddings"
            )
        if self.tokenizer.pad_token_id is None:
            raise ValueError("the tokenizer has no padding token; set tokenizer.pad_token")

    @property
    def seg_token_ids(self) -> list[int]:
        """Ids of `seg_tokens`, in order."""
        return [self.tokenizer.convert_tokens_to_ids(token) for token in self.seg_tokens]

    @property
    def object_token_ids(self) -> list[int]:
        """Ids that stand for one object in an answer: `num_seg_frames` of them unless `seg_design="single"`."""
        ids = self.seg_token_ids
        return ids * self.num_seg_frames if self.seg_design == "repetitive" else ids

    @property
    def answer_parser(self) -> AnswerParser:
        """Reads the answers of the model."""
        return AnswerParser(self.tokenizer, self.object_token_ids, self.stop_strings)

    @property
    def assembler(self) -> BatchAssembler:
        """What turns sequences and frames into tensors; kept until a field that it was built from changes."""
        return self._assembler(self.chat_template)

    def _assembler(self, chat_template: str | None) -> BatchAssembler:
        parts = (
            (self.tokenizer, self.object_token_ids, chat_template, len(self.tokenizer.added_tokens_decoder)),
            (
                self.mllm_type,
                self.image_processor,
                self.sam_image_processor,
                self.image_seq_length,
                self.max_length,
                self.prompt_rule,
                self.frame_labels,
            ),
        )
        known, assembler = _ASSEMBLERS.get(self, (None, None))
        if assembler is None or known != parts:
            (tokenizer, object_ids, template, _), fields = parts
            assembler = BatchAssembler(ChatEncoder(tokenizer, object_ids, template), *fields)
            _ASSEMBLERS[self] = parts, assembler
        return assembler

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        videos: Any = None,
        *,
        task: str | list[str] = "auto",
        messages: list[Any] | None = None,
        points: Any = None,
        boxes: Any = None,
        masks: Any = None,
        key_frames: Any = None,
        num_key_frames: int | None = None,
        chat_template: str | None = None,
        **options: Any,
    ) -> DeSa2VABatch:
        """Inference batch.

        Args:
            images: one picture or a list: PIL image, array, tensor, path, address, bytes, ... (docs/inputs.md).
            text: one text for every visual, or a list: one per visual, or any number about one visual; or strings that
                `apply_chat_template` returned.
            videos: one video or a list: path, folder of pictures, list of pictures, array with four dimensions, ...
            task: `"auto"`, `"segment"` (wraps bare phrases), `"chat"`, `"caption"`, `"gcg"` (grounded caption) or
                `"region"` (what is marked with points, boxes or masks), or a list with one for each request. The last
                three ask in their own words where there is no text, `"region"` once for each region. See `apply_task`.
            messages: earlier turns (then `text` is the next), or a whole dialogue that ends with the user; or a list
                of these. See `parse_messages`.
            points: `[(x, y), ...]` or `[(x, y, label), ...]` in source pixels (`parse_prompts`); with text or alone.
            boxes: `(x0, y0, x1, y1)` in source pixels.
            masks: bool `(H, W)` or `(O, H, W)` at source size.
            key_frames: of the videos: `"uniform"`, `"first"`, `"all"` or frame indices, or a list with one of these
                for each visual; the processor's own by default. (`"auto"` is the model's choice: `model.stream`.)
            num_key_frames: of the videos: how many; the processor's own by default.
            chat_template: to be used in place of the processor's own.
            options: arguments that processors of transformers take (`return_tensors="pt"`, `padding=True`, ...), as
                far as they mean what is done anyway; see `read_options`.

        Returns:
            The tensors of `BatchAssembler.assemble` with left padding; `visuals`, `task`, `texts` and `requests` (see
            `DeSa2VABatch`); and with prompts the tensors of `sam_prompts` and `prompt_visual` long `(O,)`. With
            prompts alone there are no token entries, and `sequence_visual` counts one request per visual.

        Raises:
            ValueError: anything that can not be meant; the message names the input.
            FileNotFoundError: a path without a file.
            TypeError: an input of an unknown kind.
        """
        checks = self._options(options)
        text, dialogues = _said(text, messages)
        embedded = [dialogue.visual for dialogue in dialogues or () if dialogue.visual is not None]
        strategy = self.key_frames if key_frames is None else key_frames
        count = self.num_key_frames if num_key_frames is None else num_key_frames
        opened = open_visuals(images, videos, embedded)
        kinds = [kind for kind, _ in opened]
        refuse_without_video(kinds, key_frames=key_frames, num_key_frames=num_key_frames)
        visuals = describe_visuals(opened, strategy, count, self.sam_image_processor)
        if self.mllm_type != "internvl":
            check_aspect_ratio(visuals)
        prompts = prompts_of_visuals(points, boxes, masks, visuals)
        prompts_alone = any(prompts) and text is None and dialogues is None and prompts_suffice(task)
        marked = [len(entries) for entries in prompts]
        requests = [] if prompts_alone else plan_requests(text, dialogues, kinds, task, self.gcg_instruction, marked)
        if any(marked) and not prompts_alone and self.prompt_rule == "sa2va":
            raise ValueError(_NO_OUTLINES)
        assembler = self._assembler(self.chat_template if chat_template is None else chat_template)
        refuse_rendered(requests, assembler.encoder)
        plan = plan_inference(visuals, requests, prompts, self.max_tiles)
        batch: dict[str, Any] = assembler.assemble(plan, training=False)
        checks.check(batch["attention_mask"].sum(dim=1).tolist() if requests else [])
        if prompts_alone:
            batch["sequence_visual"] = torch.arange(len(visuals))
        if any(prompts):
            batch.update(self._prompt_tensors(prompts, visuals))
        tasks = task if isinstance(task, str) else [request.task for request in requests] or "auto"
        batch |= {"visuals": visuals, "task": tasks, **texts_of(requests, len(visuals))}
        return DeSa2VABatch({**batch, **self._stops()})

    def sa2va_inputs(
        self, image: Any, video: Any, text: str | None, past_text: str = "", mask_prompts: Any = None
    ) -> DeSa2VABatch:
        """Inference batch for one request in the words of Sa2VA's `predict_forward`.

        Args:
            image, video: one of them, or neither. text: with `<image>` where the picture belongs (InternVL).
            past_text: what was said before. mask_prompts: see `region_cells`.

        Raises:
            ValueError: no text, both a picture and a video, a model that does not follow Sa2VA's rules, or what
                `sa2va_sequence` refuses.
        """
        if self.prompt_rule != "sa2va":
            raise ValueError("predict_forward is for Sa2VA's published models; call processor(...) and generate(...)")
        if not text:
            raise ValueError("text= is missing: say what is asked, e.g. text='<image>Please segment the dog.'")
        if image is not None and video is not None:
            raise ValueError("give image= or video=, not both")
        visuals = describe_visuals(
            open_visuals(image, video if video is None else [video], []), "first", 5, self.sam_image_processor
        )
        plan = BatchPlan()
        frames = visuals[0].source.read(visuals[0].key_frames) if visuals else []
        plan.add_sam_frames(frames, 0)
        images = [plan.add_image(frame, self.max_tiles if image is not None else 1) for frame in frames]
        side = math.isqrt(self.image_seq_length)
        regions = None if mask_prompts is None else region_cells(mask_prompts, side)
        sequence = sa2va_sequence(self.assembler, images, text, past_text or "", regions)
        plan.sequences.append(sequence)
        batch = self.assembler.assemble(plan, training=False)
        # Sa2VA's Qwen-VL models also look for [SEG] in the prompt.
        seg = torch.isin(batch["input_ids"], torch.tensor(self.seg_token_ids)).any()
        more = {"prompt_objects": True} if self.mllm_type != "internvl" and images and bool(seg) else {}
        more |= {"visuals": visuals, "task": "auto", "texts": [text], "requests": [text]}
        return DeSa2VABatch({**batch, **self._stops(), **more})

    @staticmethod
    def _options(options: dict[str, Any]) -> CallOptions:
        """The checked further arguments of a call; those of `__call__` itself are left out."""
        own = set(inspect.signature(DeSa2VAProcessor.__call__).parameters) - {"self", "options"}
        return read_options({name: value for name, value in options.items() if name not in own}, own)

    def frame_groups(
        self, video: Any, text: str | list[str], groups: list[list[int]], task: str | list[str]
    ) -> DeSa2VABatch:
        """Batch that asks every text about every group of frames of one video, as if each group were a video.

        Args:
            video: one video, as in `__call__`.
            text: one text or several.
            groups: frame indices, rising within a group.
            task: one, or one for each text; see `apply_task`.

        Returns:
            As `__call__`: visual g is group g; sequences are sorted by text, then by group.
        """
        opened = open_visuals(None, [video], []) * len(groups)
        visuals = describe_visuals(opened, groups, 1, self.sam_image_processor)
        if self.mllm_type != "internvl":
            check_aspect_ratio(visuals)
        texts = [text] if isinstance(text, str) else list(text)
        repeated = [entry for entry in texts for _ in groups]
        tasks = task if isinstance(task, str) else [entry for entry in task for _ in groups]
        requests = plan_requests(repeated, None, ["video"], tasks, self.gcg_instruction)
        refuse_rendered(requests, self.assembler.encoder)
        for index, request in enumerate(requests):
            request.visual = index % len(groups)
        plan = plan_inference(visuals, requests, [[] for _ in visuals], self.max_tiles)
        batch = self.assembler.assemble(plan, training=False)
        return DeSa2VABatch({**batch, **self._stops(), "visuals": visuals, "task": tasks, **texts_of(requests)})

    def checks(self, visuals: list[Any], checks: list[Check]) -> tuple[dict[str, torch.Tensor], list[int], list[int]]:
        """Questions back about outlined regions: see `ask_back`."""
        return ask_back(self.assembler, visuals, checks, self.max_tiles)

    def _stops(self) -> dict[str, Any]:
        """Arguments of `generate` that end an answer at `stop_strings`."""
        return {"stop_strings": self.stop_strings, "tokenizer": self.tokenizer} if self.stop_strings else {}

    def _prompt_tensors(self, prompts: list[list[Any]], visuals: list[Any]) -> dict[str, torch.Tensor]:
        """SAM-2's prompts of all visuals."""
        owners = [number for number, objects in enumerate(prompts) for _ in objects]
        sizes = [(visuals[number].height, visuals[number].width) for number in owners]
        side = self.sam_image_processor.size["height"]
        flat = [entry for objects in prompts for entry in objects]
        return {**sam_prompts(flat, sizes, side, side // 4), "prompt_visual": torch.tensor(owners)}

    def post_process(
        self,
        outputs: Any,
        inputs: DeSa2VABatch,
        mask_threshold: float | None = None,
        object_score_threshold: float | None = None,
        keep_logits: bool = False,
        **options: Any,
    ) -> list[SegmentationResult]:
        """Results of `DeSa2VAModel.generate`, one per sequence.

        Args:
            outputs: what `generate` returned.
            inputs: the batch it was called with.
            mask_threshold: logit above which a pixel belongs to a mask; the model's when omitted.
            object_score_threshold: logit above which an object is on a frame; the model's when omitted.
            keep_logits: keep low-resolution logits for `ObjectResult.probabilities` and `source_logits`.
            options: `non_overlapping`, `max_hole_area`, `max_speckle_area`, `empty_absent`, `two_step_resize`: see
                `MaskOptions`.

        Raises:
            ValueError: outputs of other inputs, or with NaN.
        """
        chosen = MaskOptions(mask_threshold, object_score_threshold, keep_logits=keep_logits, **options)
        return build_results(outputs, inputs, self.answer_parser, chosen)


def _said(text: Any, messages: list[Any] | None) -> tuple[Any, list[Dialogue] | None]:
    """The texts of single requests, and the dialogues that are given in their place or before them.

    Raises:
        ValueError: a rendered chat template beside messages.
    """
    rendered = rendered_dialogues(text)
    if rendered is None:
        return text, None if messages is None else parse_messages(messages)
    if messages is not None:
        raise ValueError("a rendered chat template is a whole conversation; give it as text= or give messages=")
    return None, rendered


__all__ = ["DeSa2VAProcessor"]
