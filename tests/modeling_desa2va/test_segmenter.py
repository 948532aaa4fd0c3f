"""Decoding against transformers' own SAM-2, fed with the same prompts."""

import copy

import pytest
import torch

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def pixels():
    torch.manual_seed(1)
    return torch.randn(3, 3, 128, 128)


def reference(sam, pixels, **prompts):
    """transformers' single-frame forward for one picture; raw masks, scores."""
    features = sam.get_image_features(pixels[None], return_dict=True).fpn_hidden_states
    features[-1] = features[-1] + sam.no_memory_embedding
    maps = [f.permute(1, 2, 0).reshape(1, -1, *s) for f, s in zip(features, sam.backbone_feature_sizes, strict=True)]
    sparse, dense = sam.prompt_encoder(
        **{"input_points": None, "input_labels": None, "input_boxes": None, "input_masks": None} | prompts
    )
    masks, iou, _, score = sam.mask_decoder(
        image_embeddings=maps[-1],
        image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
        high_resolution_features=maps[:-1],
    )
    return masks[0, 0, 0], iou[0, 0, 0], score[0, 0, 0]


@torch.no_grad()
def test_clicks_of_several_objects_equal_transformers_one_by_one(model, pixels):
    """Three objects on three frames in one call; the second frame shows none, the third two."""
    segmenter = model.segmenter
    frame_index = torch.tensor([2, 0, 2])
    points, labels = torch.rand(3, 2, 2) * 128, torch.tensor([[1, 0], [1, 1], [1, -1]])
    features = segmenter.encode_frames(pixels)
    ours = segmenter.decode(segmenter.sam.mask_decoder, features, frame_index, points=(points, labels))
    for row, frame in enumerate(frame_index.tolist()):
        mask, iou, score = reference(
            segmenter.sam,
            pixels[frame],
            input_points=points[None, None, row],
            input_labels=labels[None, None, row].int(),
        )
        torch.testing.assert_close(ours.logits[row], mask, **TOLERANCE)
        torch.testing.assert_close(ours.iou[row], iou, **TOLERANCE)
        torch.testing.assert_close(ours.object_score[row], score, **TOLERANCE)


@torch.no_grad()
def test_mask_prompt_equals_transformers(model, pixels):
    segmenter = model.segmenter
    mask = torch.randn(1, 32, 32) * 5
    ours = segmenter.decode(
        segmenter.sam.mask_decoder, segmenter.encode_frames(pixels[:1]), torch.tensor([0]), dense_masks=mask
    )
    theirs, _, _ = reference(
        segmenter.sam,
        pixels[0],
        input_points=torch.zeros(1, 1, 1, 2),
        input_labels=-torch.ones(1, 1, 1, dtype=torch.int32),
        input_masks=mask[None],
    )
    torch.testing.assert_close(ours.logits[0], theirs, **TOLERANCE)


@torch.no_grad()
def test_decoders_start_as_copies_of_sam_s(make_model, pixels):
    segmenter = make_model(3).segmenter
    segmenter.copy_decoders()
    features, index = segmenter.encode_frames(pixels[:1]), torch.tensor([0])
    prompt = torch.randn(1, 1, 64)
    own = segmenter.decode(segmenter.sam.mask_decoder, features, index, prompt).logits
    for decoder in (segmenter.text_decoder, segmenter.visual_decoder):
        torch.testing.assert_close(segmenter.decode(decoder, features, index, prompt).logits, own)


@torch.no_grad()
def test_language_prompt_matters(model, pixels):
    """A prompt token that the decoder ignores would pass every shape test."""
    segmenter = model.segmenter
    features = segmenter.encode_frames(pixels[:1])
    masks = segmenter.decode(
        segmenter.visual_decoder, features, torch.zeros(2, dtype=torch.long), torch.randn(2, 1, 64)
    )
    assert (masks.logits[0] - masks.logits[1]).abs().max() > 1e-2


@torch.no_grad()
def test_encoding_in_pieces_is_the_same(model, pixels):
    whole, pieces = model.segmenter.encode_frames(pixels), model.segmenter.encode_frames(pixels, batch_size=2)
    torch.testing.assert_close(whole.low, pieces.low, **TOLERANCE)
    torch.testing.assert_close(whole.high0, pieces.high0, **TOLERANCE)


@pytest.mark.parametrize("learns", ["nothing", "a norm", "the pixels"])
def test_a_frozen_encoder_encodes_in_a_training_as_in_inference(make_model, pixels, learns):
    """Bit for bit, so that features made before a training are those of its steps; what learns gets its gradient."""
    segmenter = make_model().segmenter
    encoder = segmenter.sam.vision_encoder.requires_grad_(False)
    given = pixels.clone().requires_grad_(learns == "the pixels")
    norm = encoder.backbone.blocks[0].layer_norm1.requires_grad_(learns == "a norm")
    found = segmenter.encode_frames(given)
    with torch.no_grad():
        expected = segmenter.encode_frames(given)
    assert found.low.requires_grad == (learns != "nothing")
    if learns == "nothing":
        assert all(torch.equal(found[name], expected[name]) for name in ("high0", "high1", "low"))
        segmenter.high_levels(segmenter.sam.mask_decoder, found)[0].sum().backward()
        assert segmenter.sam.mask_decoder.conv_s0.weight.grad.abs().sum() > 0
        return
    torch.testing.assert_close(found.low, expected.low)
    found.low.square().sum().backward()
    assert (given.grad if learns == "the pixels" else norm.weight.grad).abs().sum() > 0


def test_wrong_pixel_size_is_named(model):
    with pytest.raises(ValueError, match="128x128"):
        model.segmenter.encode_frames(torch.zeros(1, 3, 64, 64))


@torch.no_grad()
def test_multimask_keeps_the_best_by_predicted_iou(model, pixels):
    """Guards against the first mask, or another one's token and score, being taken for the best."""
    segmenter = model.segmenter
    features, index = segmenter.encode_frames(pixels[:1]), torch.zeros(6, dtype=torch.long)
    decoder, prompt = segmenter.visual_decoder, 3 * torch.randn(6, 1, 64)
    seen = {}
    handle = decoder.register_forward_pre_hook(lambda _, args, given: seen.update(given), with_kwargs=True)
    found = segmenter.decode(decoder, features, index, prompt, multimask=True)
    handle.remove()
    seen.pop("best_only")
    masks, iou, tokens, _ = decoder(**seen)
    assert masks.shape[2] == 3
    best = iou[:, 0].argmax(1)
    for row, number in enumerate(best):
        torch.testing.assert_close(found.logits[row], masks[row, 0, number], **TOLERANCE)
        torch.testing.assert_close(found.iou[row], iou[row, 0, number], **TOLERANCE)
        torch.testing.assert_close(found.tokens[row], tokens[row, 0, number], **TOLERANCE)


def test_no_pairs_give_empty_predictions_with_a_gradient_of_zero(make_model, pixels):
    """A step without objects (questions alone) must neither crash nor leave a decoder out of the graph."""
    segmenter = make_model().segmenter
    nothing = torch.zeros(0, dtype=torch.long)
    empty = segmenter.decode(
        segmenter.visual_decoder, segmenter.encode_frames(pixels[:1]), nothing, torch.zeros(0, 1, 64)
    )
    assert empty.logits.shape == (0, 32, 32)
    assert empty.iou.shape == empty.object_score.shape == (0,)
    empty.logits.sum().backward()
    assert segmenter.visual_decoder.iou_token.weight.grad.abs().sum() == 0


def test_kept_codes_of_places_follow_the_weights(model):
    """Codes from before a checkpoint was loaded, the model copied, or gradients asked for, would be wrong ones."""
    segmenter = copy.deepcopy(model.segmenter).eval()
    frequencies = segmenter.sam.shared_image_embedding.positional_embedding
    with torch.inference_mode():
        first = segmenter.grid_codes()
        assert segmenter.grid_codes() is first
    torch.testing.assert_close(first, segmenter.sam.get_image_wide_positional_embeddings(), rtol=0, atol=0)
    assert not segmenter.grid_codes().is_inference()  # autograd refuses tensors of inference mode
    state = segmenter.state_dict()
    state["sam.shared_image_embedding.positional_embedding"] = frequencies * 1.5
    segmenter.load_state_dict(state)
    copied = copy.deepcopy(segmenter)
    copied.sam.shared_image_embedding.positional_embedding.mul_(2.0)
    for changed in (segmenter, copied, segmenter.double()):
        with torch.no_grad():
            expected = changed.sam.get_image_wide_positional_embeddings()
            torch.testing.assert_close(changed.grid_codes(), expected, rtol=0, atol=0)
    assert not any("codes" in name for name in segmenter.state_dict())


def test_tokens_without_clicks_are_the_same_with_and_without_gradients(model):
    """The short way to the not-a-point tokens is for inference; training must reach the weights as before."""
    segmenter = copy.deepcopy(model.segmenter).requires_grad_(True)
    trained = segmenter.embed_prompts(3)
    with torch.no_grad():
        torch.testing.assert_close(segmenter.embed_prompts(3), trained, rtol=0, atol=0)
    encoder = segmenter.sam.prompt_encoder
    weights = encoder.not_a_point_embed.weight, encoder.point_embed.weight
    token, points = torch.autograd.grad(trained.sum(), weights)
    assert (token == 6).all()
    assert (points == 0).all()


def test_every_network_is_listed_once(make_model):
    """Three lists of the same networks stood in recording, timing and the suite; what is in none of them is small."""
    for mode in ("desa2va", "sa2va"):
        segmenter = make_model(prompt_mode=mode).segmenter
        listed = [parameter for network in segmenter.networks().values() for parameter in network.parameters()]
        assert len({id(parameter) for parameter in listed}) == len(listed)
        count = sum(parameter.numel() for parameter in listed)
        assert count > 0.95 * sum(parameter.numel() for parameter in segmenter.parameters())
        assert ("text_decoder" in segmenter.networks()) == (mode == "desa2va")
