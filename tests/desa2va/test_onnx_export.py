"""ONNX graphs say what the model says, for any number of objects."""

import json

import numpy as np
import pytest
import torch

from desa2va.onnx_export import _Decoder, _Encoder, check_parity, export_onnx
from desa2va.processing.files import mask_iou

REASON = "the extra `onnx` is not installed"


@pytest.fixture(scope="module")
def graphs(make_model, processor, tmp_path_factory):
    """A model with one pass and its graphs; tracing the re-prompt as well takes twice as long."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=REASON)
    model = make_model(num_reprompts=0)
    return model, export_onnx(model, processor, tmp_path_factory.mktemp("onnx") / "graphs")


def test_a_decoder_that_is_prompted_again_is_traced_for_any_number_of_objects(make_model):
    """A length that was read once was a constant of the graph, and one object could not be drawn; needs no onnx."""
    model = make_model(num_reprompts=1)
    side, width = model.segmenter.sam.image_size, model.segmenter.sam.config.prompt_encoder_config.hidden_size
    objects = torch.export.Dim("objects")
    with torch.no_grad():
        levels = _Encoder(model)(torch.randn(1, 3, side, side))
        shapes = (None, None, None, ({0: objects}, {0: objects}))
        given = (*levels, torch.randn(2, width), torch.randn(2, width))
        traced = torch.export.export(_Decoder(model).eval(), given, dynamic_shapes=shapes, strict=False).module()
        model.segmenter._kept_codes = None  # what tracing left there has no values
        for count in (1, 3):
            prompts = torch.randn(2, count, width)
            for seen, wanted in zip(traced(*levels, *prompts), _Decoder(model)(*levels, *prompts), strict=True):
                torch.testing.assert_close(seen, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_graphs_agree_with_the_model_whatever_the_number_of_objects(graphs, processor, scenes):
    """A graph that was traced with two objects may have kept the two; and a tracer may drop what is not a tensor."""
    import onnxruntime

    model, folder = graphs
    picture = np.asarray(scenes[0].frames[0])
    parity = check_parity(model, processor, folder, picture, "the red circle")
    assert parity.features < 1e-3
    assert parity.logits < 1e-3
    assert parity.scores < 1e-4
    assert parity.iou > 0.999
    decoder = onnxruntime.InferenceSession(folder / "decoder.onnx")
    projections = onnxruntime.InferenceSession(folder / "projections.onnx")
    batch = processor(images=picture, text="the ring", task="segment")
    with torch.no_grad():
        features = model.segmenter.encode_frames(batch["sam_pixel_values"])
    levels = {name: features[name].numpy() for name in ("high0", "high1", "low")}
    for count in (1, 2, 5):
        states = torch.randn(count, model.config.get_text_config().hidden_size)
        names = [entry.name for entry in projections.get_outputs()]
        prompts = dict(zip(names, projections.run(None, {"states": states.numpy()}), strict=True))
        with torch.no_grad():
            text, visual = model.decoupling(states)
            kept = model.decode_prompts(features, torch.zeros(count, dtype=torch.long), text, visual)[1].fused
        np.testing.assert_allclose(prompts["text_prompts"], text.numpy(), atol=1e-5)
        logits, iou, scores = decoder.run(None, {**levels, **prompts})
        np.testing.assert_allclose(logits, kept.logits.numpy(), atol=1e-3)
        np.testing.assert_allclose(iou, kept.iou.numpy(), atol=1e-4)
        np.testing.assert_allclose(scores, kept.object_score.numpy(), atol=1e-3)


@pytest.mark.slow
def test_the_page_s_own_code_needs_neither_torch_nor_this_package(graphs, processor, scenes):
    """What docs/onnx.md shows is what a user without torch types: from a picture file to masks at its size."""
    from tests.desa2va.test_docs import ROOT

    model, folder = graphs
    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    assert "torch" not in code
    assert "desa2va" not in code
    batch = processor(images=np.asarray(scenes[0].frames[0]), text="the ring", task="segment")
    answer = model.answer_key_frames(**batch, max_new_tokens=4)
    given = {
        "FOLDER": str(folder),
        "picture": np.asarray(scenes[0].frames[0]),
        "prompts": {
            "text_prompts": answer.prompts.text[:, 0].numpy(),
            "visual_prompts": answer.prompts.visual[:, 0].numpy(),
        },
    }
    exec(compile(code, "docs/onnx.md", "exec"), given)
    wanted = processor.post_process(model.generate(**batch, max_new_tokens=4), batch)[0]
    from desa2va.processing.files import encode_mask

    for mask, found in zip(given["masks"], wanted.objects, strict=True):
        assert mask.shape == (128, 128)
        assert mask_iou(encode_mask(mask), found.codes[0]) > 0.99


@pytest.mark.slow
def test_the_model_works_on_after_it_was_traced(graphs, processor, scenes):
    """Tracing leaves tensors without values in whatever a module keeps."""
    model, folder = graphs
    batch = processor(images=np.asarray(scenes[1].frames[0]), text="the ring", task="segment")
    assert processor.post_process(model.generate(**batch, max_new_tokens=4), batch)[0].objects
    assert json.loads((folder / "onnx.json").read_text())["image_size"] == model.segmenter.sam.image_size


def test_what_can_not_be_exported_is_one_sentence(make_model, processor, tmp_path, monkeypatch):
    """Half precision would be traced through an autocast that the graph does not have."""
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=REASON)
    with pytest.raises(ValueError, match="made of float32 weights on the CPU"):
        export_onnx(make_model().to(torch.bfloat16), processor, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'desa2va\[onnx\]'"):
        export_onnx(make_model(), processor, tmp_path / "x")
