"""One visitor's work: what the Python API would have given, and sentences for what can not be done."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import desa2va
from desa2va.serving.limits import Limits
from desa2va.web.studio import Studio


@pytest.fixture
def studio(shipped, demo):
    """Opens a file of the demo; closed with the test."""
    made = []

    def make(name, **limits):
        made.append(Studio(*shipped, demo / name, Limits(**limits)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def masks_of(session):
    return [session.result(frame).to_numpy() for frame in range(len(session.video))]


def test_words_a_click_and_tracking_are_those_of_a_session(studio, shipped, demo):
    """What the page shows has to be what the API gives."""
    own = studio("clip.mp4")
    view = own.find("the red object")
    assert view.objects[0].waits
    assert "Follow" in view.said
    assert list(own.propagate()) == list(range(len(own.session.video)))
    own.show(frame=5)
    own.click(100, 90)
    list(own.propagate())
    with desa2va.DeSa2VASession(*shipped, str(demo / "clip.mp4")) as session:
        (number,) = session.add(text="the red object", key_frames=[0])
        list(session.propagate())
        session.correct(number, 5, points=[[100, 90, 1]])
        list(session.propagate())
        wanted = masks_of(session)
    assert any(mask.any() for mask in wanted)
    assert all(np.array_equal(one, other) for one, other in zip(masks_of(own.session), wanted, strict=True))


def test_a_picture_gives_the_masks_of_a_call(studio, shipped, demo):
    """A picture is a video of one frame: the words must not be read otherwise for that."""
    own = studio("scene.png")
    own.find("the red object")
    model, processor = shipped
    inputs = processor(images=str(demo / "scene.png"), text="the red object", task="segment")
    (result,) = processor.post_process(model.generate(**inputs), inputs)
    assert np.array_equal(masks_of(own.session)[0], result.to_numpy())


def test_two_clicks_are_a_box_and_undo_forgets_the_first(studio):
    """A corner that stays for ever would swallow the next click."""
    own = studio("scene.png")
    own.click(150, 120, "box")
    assert own.undo().objects == []
    own.click(150, 120, "box")
    view = own.click(100, 60, "box", "thing")
    assert [(one.number, one.name) for one in view.objects] == [(0, "thing")]
    assert view.chosen == 0
    other = studio("scene.png").type_marks("100 60, 150 120", name="thing")
    assert np.array_equal(view.picture, other.picture)


def test_objects_are_chosen_removed_and_brought_back(studio):
    """Clicks go to the chosen object alone."""
    own = studio("scene.png")
    own.find("the red object", "first")
    own.choose(None)
    view = own.click(40, 40, name="second")
    assert [one.name for one in view.objects] == ["first", "second"]
    assert view.objects[0].colour != view.objects[1].colour
    assert [one.name for one in own.remove().objects] == ["first"]
    assert [one.name for one in own.undo().objects] == ["first", "second"]


def test_a_mask_file_becomes_an_object(studio, tmp_path):
    """Annotators bring masks of other tools; a session keeps them at the resolution of SAM-2's masks."""
    own = studio("scene.png")
    mask = np.zeros(own.show().picture.shape[:2], np.uint8)
    mask[20:60, 30:90] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    own.mask_file(str(tmp_path / "mask.png"))
    found = own.session.result(0).objects[0].mask
    assert (found & (mask > 0)).sum() > 0.9 * (found | (mask > 0)).sum()
    Image.fromarray(mask[1:]).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="the mask has"):
        own.mask_file(str(tmp_path / "small.png"))


def test_turns_mark_the_chosen_object(studio, shipped):
    """A question about "this" needs the mask in the picture."""
    own = studio("scene.png")
    own.find("the red object")
    answer, view = own.ask("what color is this?")
    with desa2va.DeSa2VAConversation(*shipped, image=own.session.video.read([0])[0]) as talk:
        wanted = talk.ask("what color is this?", masks=[own.session.result(0).objects[0].mask])
    assert answer == wanted.text
    assert len(view.objects) == 1
    own.choose(None)
    own.ask("and what shape?")
    assert len(own._talk.results) == 2


def test_what_is_taken_home(studio):
    """Overlay, masks and COCO of a video; a second download replaces the first."""
    own = studio("clip.mp4")
    with pytest.raises(ValueError, match="no object"):
        own.export()
    own.find("the red object")
    list(own.propagate())
    own.export()
    overlay, masks, coco = own.export()
    assert overlay.endswith(".mp4")
    length = len(own.session.video)
    assert len(desa2va.processing.inputs.open_visual(overlay)) == length
    with zipfile.ZipFile(masks) as packed:
        assert len([name for name in packed.namelist() if name.endswith(".png")]) == length
    with open(coco) as file:
        assert json.load(file) == json.loads(json.dumps(own.session.results().to_coco()))


def test_saved_work_goes_on_in_another_visit(studio, tmp_path):
    """Also with what was not tracked yet."""
    own = studio("clip.mp4")
    own.find("the red object")
    kept = shutil.copy(own.save(), tmp_path)
    list(own.propagate())
    other = studio("clip.mp4")
    assert other.resume(kept).objects[0].waits
    list(other.propagate())
    assert all(np.array_equal(*pair) for pair in zip(masks_of(own.session), masks_of(other.session), strict=True))
    with pytest.raises(ValueError, match="scene|video|picture"):
        studio("scene.png").resume(kept)


def test_explanation_needs_a_sentence(studio):
    """A picture of the branches, the height of at least one row."""
    own = studio("scene.png")
    with pytest.raises(ValueError, match="by words first"):
        own.explain()
    own.find("the red object")
    drawn = own.explain()
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3


def test_what_can_not_be_done_is_a_sentence(studio, shipped, tmp_path):
    """And leaves the work as it was."""
    own = studio("scene.png")
    for wrong, word in (
        (lambda: own.find("  "), "type what"),
        (lambda: own.click(1, 1, "beside it"), "choose the object"),
        (lambda: own.click(1, 1, "hammer"), "unknown"),
        (lambda: own.type_marks("1 2 3"), "type x y"),
        (lambda: own.click(10_000, 1), "10000"),
        (lambda: own.show(frame=7), "does not exist"),
        (own.undo, "nothing to"),
        (own.remove, "choose the object"),
        (lambda: studio("clip.mp4", frames=2), "at most 2"),
        (lambda: studio("scene.png", pixels=100), "at most 100"),
    ):
        with pytest.raises(ValueError, match=word):
            wrong()
    assert own.show().objects == []
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="video|picture"):
        Studio(*shipped, tmp_path / "text.png", Limits())


def test_a_list_of_other_files_is_not_followed(shipped, demo, tmp_path, monkeypatch):
    """FFmpeg reads such a list as a video, and would open what it names beside it."""
    shutil.copy(demo / "clip.mp4", tmp_path / "secret.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile 'secret.mp4'\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="can not be read"):
        Studio(*shipped, tmp_path / "list.mp4", Limits())


def test_nothing_is_left(studio):
    """Files of a visitor go with the visitor."""
    own = studio("clip.mp4")
    own.find("the red object")
    own.save()
    assert own.folder.is_dir()
    own.close()
    assert not own.folder.exists()
    with pytest.raises(ValueError, match="closed"):
        own.show()
