"""Published names and fused tensors, against what they stand for."""

import pytest
import torch

from desa2va.modeling_desa2va.conversion.names import Place, grouped, internvl_places, sam_places, third


def test_internlm2_rows_are_grouped_by_key_head():
    """Rows are (queries of key head 0, its k, its v, queries of key head 1, ...): splitting in three gives noise."""
    heads, kv, size, width = 6, 2, 4, 5
    q, k, v = (torch.randn(count * size, width) for count in (heads, kv, kv))
    rows = []
    for head in range(kv):
        rows += [q[head * 12 : head * 12 + 12], k[head * 4 : head * 4 + 4], v[head * 4 : head * 4 + 4]]
    fused = torch.cat(rows)
    for part, whole in (("q", q), ("k", k), ("v", v)):
        torch.testing.assert_close(grouped(part, heads, kv)(fused), whole, rtol=0, atol=0)
        torch.testing.assert_close(grouped(part, heads, kv)(fused[:, 0]), whole[:, 0], rtol=0, atol=0)


def test_vision_rows_are_three_thirds():
    fused = torch.arange(12.0)
    assert [third(number)(fused).tolist() for number in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("image_encoder.trunk.blocks.3.mlp.layers.1.weight", "vision_encoder.backbone.blocks.3.mlp.proj_out.weight"),
        ("memory_encoder.out_proj.weight", "memory_encoder.projection.weight"),
        ("memory_encoder.fuser.layers.1.gamma", "memory_encoder.memory_fuser.layers.1.scale"),
        (
            "memory_encoder.mask_downsampler.encoder.10.bias",
            "memory_encoder.mask_downsampler.layers.3.layer_norm.bias",
        ),
        ("memory_encoder.mask_downsampler.encoder.12.bias", "memory_encoder.mask_downsampler.final_conv.bias"),
        (
            "sam_mask_decoder.output_hypernetworks_mlps.2.layers.1.bias",
            "mask_decoder.output_hypernetworks_mlps.2.layers.0.bias",
        ),
        ("obj_ptr_proj.layers.2.weight", "object_pointer_proj.proj_out.weight"),
        ("obj_ptr_tpos_proj.bias", "temporal_positional_encoding_projection_layer.bias"),
        ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    ],
)
def test_sam_names(published, ours):
    """One of each kind; memory's projection must not be taken for an attention's."""
    assert sam_places(published) == [Place(ours)]


def test_clicks_are_joined_in_order():
    places = [sam_places(f"sam_prompt_encoder.point_embeddings.{number}.weight")[0] for number in (3, 0)]
    assert [(place.name, place.order) for place in places] == [
        ("prompt_encoder.point_embed.weight", n) for n in (3, 0)
    ]


def test_the_frequencies_serve_clicks_and_pictures():
    names = [place.name for place in sam_places("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")]
    assert names == [
        f"{stem}.positional_embedding" for stem in ("prompt_encoder.shared_embedding", "shared_image_embedding")
    ]


def test_a_name_of_neither_family_has_no_place():
    """It must be refused by the loader, not go somewhere."""
    assert internvl_places("classifier.weight") == []
