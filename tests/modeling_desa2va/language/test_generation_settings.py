"""What callers of transformers' `generate` pass, passed here: heeded, or refused by name."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria, TextIteratorStreamer

SEG, EOS = 6, 2


@pytest.fixture(scope="module")
def batch(processor):
    picture = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    return processor(images=picture, text=["the red circle", "find the star"], task="segment")


@pytest.fixture(scope="module")
def talker(make_model):
    """A model that never ends by itself and says no [SEG]."""
    model = make_model(3)
    head = model.mllm.lm_head
    head.register_forward_hook(lambda m, args, out: out.index_fill(-1, torch.tensor([EOS, SEG]), -1e4))
    return model


class Only(LogitsProcessor):
    """Says the given tokens, one a step, and then the last one."""

    def __init__(self, *tokens):
        self.tokens, self.step = tokens, 0

    def __call__(self, input_ids, scores):
        token = self.tokens[min(self.step, len(self.tokens) - 1)]
        self.step += 1
        return torch.full_like(scores, -1e4).index_fill(1, torch.tensor([token]), 0.0)


class StopAt(StoppingCriteria):
    """Stops every row after `count` steps."""

    def __init__(self, count):
        self.left = count

    def __call__(self, input_ids, scores, **kwargs):
        self.left -= 1
        return torch.full((len(input_ids),), self.left <= 0)


def length(model, batch, **options):
    return model.generate(**{**batch, "task": "auto"}, **options).sequences.shape[1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_new_tokens": 3}, 3),
        ({"max_new_tokens": np.int64(3)}, 3),
        ({"max_new_tokens": torch.tensor(3)}, 3),
        ({"generation_config": GenerationConfig(max_new_tokens=4)}, 4),
        ({"generation_config": GenerationConfig(max_new_tokens=4), "max_new_tokens": 2}, 2),
        ({"generation_config": GenerationConfig(max_new_tokens=4), "max_new_tokens": None}, 4),
    ],
)
def test_limits_of_new_tokens(talker, batch, options, expected):
    """`generation_config` was ignored: 512 tokens, whatever it said."""
    assert length(talker, batch, **options) == expected


def test_limits_of_the_whole_length(talker, batch):
    """`max_length` counts the prompt, pictures included, also where the model is given embeddings."""
    prompt = batch["input_ids"].shape[1]
    assert length(talker, batch, max_length=prompt + 3) == 3
    assert length(talker, batch, generation_config=GenerationConfig(max_length=prompt + 5)) == 5
    with pytest.raises(ValueError, match=f"max_length={prompt} must be at least {prompt + 1}"):
        length(talker, batch, max_length=prompt)


@pytest.mark.parametrize("value", [True, 2.0, "3", np.float64(3)])
def test_a_limit_is_an_integer(talker, batch, value):
    with pytest.raises(TypeError, match="max_new_tokens=.* must be an integer, not"):
        length(talker, batch, max_new_tokens=value)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 2},
        {"num_return_sequences": 2, "do_sample": True},
        {"guidance_scale": 1.5},
        {"prompt_lookup_num_tokens": 2},
        {"penalty_alpha": 0.6},
        {"output_hidden_states": True},
        {"forced_eos_token_id": 2},
    ],
)
@pytest.mark.parametrize("by_config", [True, False])
def test_what_masks_can_not_be_made_with_is_refused_by_name(talker, batch, options, by_config):
    """Guidance runs the head twice a step and shifted every state; in a configuration beams were ignored."""
    name = next(iter(options))
    options = {"generation_config": GenerationConfig(**options)} if by_config else options
    with pytest.raises(ValueError, match=f"can not take {name}="):
        length(talker, batch, **options)


def test_a_batch_is_unpacked(talker, batch):
    with pytest.raises(TypeError, match=r"model.generate\(\*\*inputs\)"):
        talker.generate(batch)


def test_the_stored_settings_are_the_models(make_model, batch):
    """`model.generation_config` did not exist; peft and users reach for it."""
    model = make_model(8)
    model.generation_config = GenerationConfig(eos_token_id=[EOS, 20], pad_token_id=0)
    assert model.mllm.generation_config.eos_token_id == [EOS, 20]
    model.mllm.lm_head.register_forward_hook(lambda m, args, out: out.index_fill(-1, torch.tensor([20]), 1e4))
    assert length(model, batch, max_new_tokens=5) == 1


def test_unknown_arguments_are_refused_by_name(talker, batch):
    with pytest.raises(ValueError, match="no argument 'max_new_token'; is 'max_new_tokens' meant"):
        length(talker, batch, max_new_token=3)
    with pytest.raises(ValueError, match="no argument 'assistant_model'"):
        length(talker, batch, assistant_model=talker)


def test_stored_beams_are_not_ignored(make_model, batch):
    model = make_model(4)
    model.mllm.generation_config.num_beams = 3
    with pytest.raises(ValueError, match="can not take num_beams=3"):
        length(model, batch, max_new_tokens=2)
    assert length(model, batch, max_new_tokens=2, num_beams=1) <= 2


def test_processors_and_criteria_are_added_to_ours(talker, batch):
    """Both were "multiple values for keyword"."""
    said = talker.generate(
        **batch, max_new_tokens=9, logits_processor=[Only(20, 21, SEG, 22)], stopping_criteria=[StopAt(4)]
    )
    assert said.sequences.tolist() == [[20, 21, SEG, 22]] * 2
    assert said.object_sequence.tolist() == [0, 1]
    assert talker.generate(**batch, max_new_tokens=2, logits_processor=None).sequences.shape == (2, 2)


def test_a_criterion_that_stops_at_a_seg_leaves_it_its_state(talker, batch):
    """The state of a [SEG] comes a step later; its mask must be that of a run that goes on."""
    stopped, whole = (
        talker.generate(
            **batch, max_new_tokens=9, logits_processor=[Only(20, SEG, 21)], stopping_criteria=[StopAt(count)]
        )
        for count in (2, 4)
    )
    assert stopped.sequences.tolist() == [[20, SEG]] * 2
    assert whole.sequences.tolist() == [[20, SEG, 21, 21]] * 2
    assert all(map(torch.equal, stopped.track_logits, whole.track_logits))


def test_time_and_strings_stop_at_a_seg_likewise(talker, batch, processor):
    options = {"max_new_tokens": 9, "logits_processor": [Only(SEG, 21)]}
    assert talker.generate(**batch, **options, max_time=0.0).sequences.tolist() == [[SEG]] * 2
    options["logits_processor"] = [Only(20, SEG, 21)]
    found = talker.generate(**batch, **options, stop_strings=["[SEG]"], tokenizer=processor.tokenizer)
    assert found.sequences.tolist() == [[20, SEG]] * 2
    assert len(found.track_logits) == 2
    with pytest.raises(ValueError, match="tokenizer=processor.tokenizer"):
        talker.generate(**batch, stop_strings=["[SEG]"])


def test_scores_and_logits_on_request(talker, batch):
    """`return_dict_in_generate=True` was "tuple indices must be integers"."""
    plain = talker.generate(**batch, max_new_tokens=3, return_dict_in_generate=True)
    assert plain.scores is None
    assert plain.logits is None
    said = talker.generate(**batch, max_new_tokens=3, output_scores=True, output_logits=True)
    assert torch.equal(said.sequences, plain.sequences)
    assert len(said.scores) == len(said.logits) == 3
    chosen = torch.stack([step.argmax(dim=-1) for step in said.scores], dim=1)
    assert torch.equal(chosen, said.sequences)
    assert said.sequences[0, -1] == SEG  # forced in the last place
    assert said.logits[-1][0].argmax() != SEG
    assert said.seg_forced.tolist() == [True, True]
    assert not talker.generate(**batch, max_new_tokens=3, logits_processor=[Only(20)]).seg_forced.numel()


def test_the_callers_configuration_is_not_changed(talker, batch):
    config = GenerationConfig(max_new_tokens=3, stop_strings=None, max_time=100.0)
    before = config.to_dict()
    length(talker, batch, generation_config=config)
    assert config.to_dict() == before


def test_a_streamer_receives_the_answer_and_no_more(talker, processor, batch):
    """The step that is made for the state of a last [SEG] was streamed as well."""
    one = processor(images=np.zeros((40, 64, 3), np.uint8), text="the star", task="segment")
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True)
    said = talker.generate(**one, max_new_tokens=4, streamer=streamer)
    assert "".join(streamer) == processor.tokenizer.decode(said.sequences[0])


def test_sampling_can_not_end_before_a_seg(make_model, batch):
    """With sampling an end that was not the likeliest token left `segment` without its [SEG]."""
    model = make_model(5)
    model.mllm.lm_head.register_forward_hook(lambda m, args, out: torch.zeros_like(out))
    for seed in range(3):
        torch.manual_seed(seed)
        said = model.generate(**batch, do_sample=True, max_new_tokens=40)
        assert said.object_sequence.unique().tolist() == [0, 1]
