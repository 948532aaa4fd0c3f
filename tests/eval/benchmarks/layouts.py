"""Small folders in the exact layouts of the published benchmarks, masks of boxes, and an answerer that knows them."""

from desa2va.eval.benchmarks.questions import Answer, AnsweredObject
from desa2va.training.data.mask_codes import encode_mask
from tests.training.data.readers.picture_layouts import SIZE, box_mask, picture, write, write_python2
from tests.training.data.readers.video_layouts import dump, track, write_frames

MODEL = {"weights_sha256": "0" * 64}


def square(x0, y0, x1, y1):
    """The polygon of a box."""
    return [float(value) for value in (x0, y0, x1, y0, x1, y1, x0, y1)]


def write_refcoco(root, pictures, name="refcoco", refs="refs(unc).p", split="val", folder=None, more=()):
    """RefCOCO's files: a reference names a picture that is not there, and `raw` is not what is asked for.

    Args:
        pictures: by image id a list of `(ref_id, ann_id, sentences)`; annotations are `BOXES` by their id.
        folder: of the pictures, below the root. more: annotations beside those of `BOXES`.
    """
    home = root / "ref_seg" / name
    references, images = [], []
    for image_id, said in pictures.items():
        file_name = f"COCO_train2014_{image_id:012d}.jpg"
        picture(root / (folder or f"ref_seg/{name}/coco2014/train2014") / file_name)
        images.append({"id": image_id, "file_name": file_name, "height": SIZE[0], "width": SIZE[1]})
        for ref_id, ann_id, sentences in said:
            entries = [
                {"sent_id": 10 * ref_id + place, "raw": f"{text.upper()}.", "sent": text, "tokens": text.split()}
                for place, text in enumerate(sentences)
            ]
            reference = {"ref_id": ref_id, "ann_id": ann_id, "category_id": 1, "image_id": image_id, "split": split}
            suffixed = file_name.replace(".jpg", f"_{ref_id}.jpg")
            references.append({**reference, "file_name": suffixed, "sentences": entries, "sent_ids": []})
    (write if refs.endswith(".json") else write_python2)(home / refs, references)
    annotations = [annotation(number, [square(*box)]) for number, box in BOXES.items()]
    write(home / "instances.json", {"images": images, "annotations": [*annotations, *more], "categories": []})
    return root


def annotation(number, segmentation, **more):
    """One of `instances.json`."""
    return {"id": number, "image_id": 0, "category_id": 1, "segmentation": segmentation, "iscrowd": 0, **more}


BOXES = {1: (4, 4, 24, 24), 2: (30, 10, 50, 40), 3: (0, 0, 10, 10)}  # of 400, 600 and 100 pixels


def box(number):
    """The mask of an annotation: bool `(1, H, W)`."""
    return box_mask(*BOXES[number])[None]


def write_clips(folder, clips, *, step=1, first=0, masks=None, words="meta_expressions.json", pictures="JPEGImages"):
    """Videos with expressions in MeViS' form.

    Args:
        clips: by name `(frames, expressions)`. masks: by annotation id, bool `(T, H, W)`.
    """
    videos = {}
    for name, (frames, expressions) in clips.items():
        names = write_frames(folder / pictures / name, frames, step=step, first=first)
        size = {"height": frames.shape[1], "width": frames.shape[2]}
        videos[name] = {"vid_id": 0, "frames": names, "expressions": expressions, **size}
    dump({"videos": videos}, folder / words)
    if masks is not None:
        dump({str(number): track(mask) for number, mask in masks.items()}, folder / "mask_dict.json")


def answer_of(*masks, scores=None):
    """An answer with these objects, each bool `(T, H, W)`."""
    objects = []
    for place, mask in enumerate(masks):
        codes = tuple(encode_mask(frame) if frame.any() else None for frame in mask)
        score = 1.0 if scores is None else scores[place]
        objects.append(AnsweredObject(codes, (score,) * len(codes), (1.0,) * len(codes)))
    return Answer("ok", "", "It is [SEG].", tuple(objects))


class Oracle:
    """Answers with given masks: by id one `(T, H, W)`, several, an `Answer`, or an error to raise; else with words."""

    def __init__(self, known):
        self.known = known
        self.asked = []

    def __call__(self, questions):
        self.asked.append([question.id for question in questions])
        return [self._answer(self.known.get(question.id)) for question in questions]

    def _answer(self, known):
        if isinstance(known, BaseException):
            raise known
        if known is None:
            return Answer("no_seg_token", "no [SEG]", "There is none.")
        if isinstance(known, Answer):
            return known
        return answer_of(*known) if isinstance(known, list) else answer_of(known)
