"""Auxiliary networks: who receives which gradient, what the discriminators learn, and the empty process."""

import copy
import math

import pytest
import torch

from desa2va.training.disentangling.auxiliary import FEATURES, AuxiliaryNetworks, frozen
from desa2va.training.disentangling.discriminators import Discriminator
from desa2va.training.disentangling.gradient_reversal import reverse_gradient

DIM = 8


def quiet(pairing="crossed", **options):
    """Networks without noise, so that two passes can be compared."""
    torch.manual_seed(0)
    options = {"spectral_norm": False, "instance_noise": 0.0, **options}
    return AuxiliaryNetworks(DIM, pairing, queue_size=16, **options)


def make_features(number=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(number, DIM, generator=generator).requires_grad_() for key in FEATURES}


def alike(number, seed):
    """Features whose text is their visual side and a little noise."""
    features = {key: value.detach() for key, value in make_features(number, seed).items()}
    return {**features, "text": features["visual"] + 0.3 * features["text"]}


def sharing(networks):
    """The networks with a q that expects text like visual, and remembered pairs that are so: the term is there."""
    torch.nn.init.eye_(networks.club.linear.weight)
    networks.remember(alike(16, seed=30))
    return networks


def gradients(loss, features):
    values = torch.autograd.grad(loss, [features[key] for key in FEATURES], allow_unused=True)
    return dict(zip(FEATURES, values, strict=True))


def reversed_joint_loss(networks, features, strength):
    """The textbook form: a reversal layer in front of the discriminators' own loss, in one joint pass."""
    text, visual = reverse_gradient(features["text"], strength), reverse_gradient(features["visual"], strength)
    seen = (text, visual) if networks.pairing == "crossed" else (visual, text)
    visual_side, text_side = networks.visual_discriminator, networks.text_discriminator
    real = visual_side.loss(features["real_visual"].detach(), True) + text_side.loss(
        features["real_text"].detach(), True
    )
    return real + visual_side.loss(seen[0], False) + text_side.loss(seen[1], False)


@pytest.mark.parametrize("pairing", ["crossed", "matched"])
def test_frozen_discriminators_give_the_reversal_gradient(pairing):
    """The claim the whole arrangement rests on: outside the wrapped model nothing changes for the decoupling."""
    networks, features = quiet(pairing), make_features()
    joint = gradients(reversed_joint_loss(networks, features, 0.7), features)
    separate = gradients(networks.model_terms(features, strength=0.7)["adversarial"], features)
    for key in ("text", "visual"):
        assert separate[key].abs().sum() > 0
        torch.testing.assert_close(separate[key], joint[key])


@pytest.mark.parametrize("adversarial_loss", ["reversal", "non_saturating"])
def test_strength_scales_the_adversarial_gradient_only(adversarial_loss):
    networks, features = quiet(adversarial_loss=adversarial_loss), make_features()
    networks.remember(make_features(12, seed=3))
    full = networks.model_terms(features, strength=1.0)
    half = networks.model_terms(features, strength=0.5)
    assert torch.equal(full["adversarial"], half["adversarial"])
    torch.testing.assert_close(
        gradients(half["adversarial"], features)["text"], 0.5 * gradients(full["adversarial"], features)["text"]
    )
    assert torch.equal(full["club"], half["club"])


LOSSES = ["reversal", "non_saturating"]


@pytest.mark.parametrize("adversarial_loss", LOSSES)
@pytest.mark.parametrize("pairing", ["crossed", "matched", "literal"])
@pytest.mark.filterwarnings("ignore:adversarial pairing")
def test_a_step_of_the_model_fools_the_discriminators(pairing, adversarial_loss):
    """The direction of the game: following the model's gradient must raise the discriminators' loss."""
    networks, features = quiet(pairing, adversarial_loss=adversarial_loss), make_features()
    gradient = gradients(networks.model_terms(features)["adversarial"], features)
    moved = {**features, **{key: features[key].detach() - 0.5 * gradient[key] for key in ("text", "visual")}}
    before, after = (networks.update_terms(one)["discriminators"].item() for one in (features, moved))
    assert after > before


@pytest.mark.parametrize("adversarial_loss", LOSSES)
@pytest.mark.parametrize("pairing", ["crossed", "matched", "literal"])
@pytest.mark.filterwarnings("ignore:adversarial pairing")
def test_the_game_in_closed_form(pairing, adversarial_loss):
    """Slope in each logit l = D(h) where D should say no: reversal -sigmoid(l), non-saturating sigmoid(l) - 1, both
    towards "real". Literal: D_v calls h_t real, so the model lowers that logit instead.
    """
    networks, features = quiet(pairing, adversarial_loss=adversarial_loss), make_features()
    found = gradients(networks.model_terms(features, strength=0.3)["adversarial"], features)
    sides = {"text": networks.visual_discriminator, "visual": networks.text_discriminator}
    if pairing == "matched":
        sides = {"text": networks.text_discriminator, "visual": networks.visual_discriminator}
    for key, discriminator in sides.items():
        logits = discriminator(features[key])
        wanted = (1 - logits.sigmoid()) if adversarial_loss == "non_saturating" else logits.sigmoid()
        if pairing == "literal" and key == "text":
            wanted = wanted - 1
        slope = torch.autograd.grad((logits * -0.3 * wanted.detach() / len(logits)).sum(), features[key])[0]
        torch.testing.assert_close(found[key], slope)


def test_the_non_saturating_gradient_is_that_of_its_value():
    """Finite differences: unlike the reversal, the term is what the model descends."""
    networks = quiet(adversarial_loss="non_saturating").double()
    values = [value.detach().double().requires_grad_() for value in make_features(3).values()]

    def term(*rows):
        return networks.model_terms(dict(zip(FEATURES, rows, strict=True)))["adversarial"]

    assert torch.autograd.gradcheck(lambda text, visual: term(text, visual, *values[2:]), values[:2])


def certain_networks(adversarial_loss):
    """Discriminators that have won on two clusters, and the features they have won on."""
    networks, features = quiet(adversarial_loss=adversarial_loss), make_features(16)
    direction = 3.0 * torch.arange(DIM).float()
    features = {
        key: (value.detach() + (direction if key.startswith("real") else -direction)).requires_grad_()
        for key, value in features.items()
    }
    optimizer = torch.optim.Adam(networks.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        networks.update_terms(features)["discriminators"].backward()
        optimizer.step()
    return networks, features


def test_certain_discriminators_leave_the_reversal_nothing_and_the_other_loss_something():
    """What "the discriminators win" means for the model; a smoothed target would even turn the first one round."""
    norms = {}
    for adversarial_loss in LOSSES:
        networks, features = certain_networks(adversarial_loss)
        before = networks.visual_discriminator(features["text"])
        assert (before < -2.94).all()
        gradient = gradients(networks.model_terms(features)["adversarial"], features)["text"]
        moved = networks.visual_discriminator(features["text"] - gradient / gradient.norm())
        assert (moved.mean() > before.mean()).item()
        norms[adversarial_loss] = gradient.norm().item()
    assert norms["non_saturating"] > 20 * norms["reversal"]


def test_model_terms_leave_the_networks_alone():
    """A gradient into q would let the model lower its information by teaching q to lie."""
    networks, features = quiet(), make_features()
    networks.remember(make_features(12, seed=3))
    sum(networks.model_terms(features).values()).backward()
    assert all(parameter.requires_grad for parameter in networks.parameters())
    assert all(parameter.grad is None for parameter in networks.parameters())
    assert features["text"].grad.abs().sum() > 0


def test_model_terms_leave_the_real_features_alone():
    """The target distributions of Eq. 4 do not move towards the decoupled features."""
    networks, features = quiet(), make_features()
    terms = networks.model_terms(features)
    found = gradients(terms["adversarial"] + terms["club"], features)
    assert found["real_text"] is None
    assert found["real_visual"] is None


def test_update_terms_leave_the_features_alone():
    networks, features = quiet(), make_features()
    networks.remember(make_features(12, seed=3))
    sum(networks.update_terms(features).values()).backward()
    assert all(value.grad is None for value in features.values())
    assert all(parameter.grad is not None for parameter in networks.parameters())


def test_frozen_restores_what_was_frozen_before():
    networks = quiet()
    networks.club.mean.weight.requires_grad_(False)
    before = [parameter.requires_grad for parameter in networks.parameters()]
    with frozen(networks):
        assert not any(parameter.requires_grad for parameter in networks.parameters())
    assert [parameter.requires_grad for parameter in networks.parameters()] == before


def test_only_the_networks_own_step_moves_their_spectral_norm():
    """Its power iteration went on with every micro-batch: the second one played against another discriminator."""
    networks, features = quiet(spectral_norm=True), make_features()
    state = copy.deepcopy(networks.state_dict())
    first, second = (networks.model_terms(features)["adversarial"] for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(value, state[name]) for name, value in networks.state_dict().items())
    networks.update_terms(features)
    assert not all(torch.equal(value, state[name]) for name, value in networks.state_dict().items())


@pytest.mark.parametrize("believed", [1.0, -1.0])
def test_club_term_is_that_of_rows_while_remembered_pairs_share_something(believed):
    """A negative estimate of the remembered pairs is q's error, and no term; one of the rows at hand is chance."""
    networks, features, signs = sharing(quiet()), alike(3, seed=5), set()
    networks.club.linear.weight.data.mul_(believed)
    for sign in (1.0, -1.0):
        rows = {**features, "text": sign * features["text"]}
        raw, term = networks.metrics(rows)["mutual_information"], networks.model_terms(rows)["club"]
        assert term.item() == pytest.approx(raw.item() if believed > 0 else 0.0, abs=1e-6)
        signs.add(raw.item() > 0)
    assert signs == {True, False}


def test_club_waits_for_its_statistics():
    """Before features were seen an estimate would be one of their offsets: no term, no update, no figure."""
    networks, features = quiet(), make_features()
    assert networks.model_terms(features)["club"].item() == 0.0
    assert networks.update_terms(features)["club_nll"].item() == 0.0
    assert "mutual_information" not in networks.metrics(features)
    networks.remember(features)
    assert "mutual_information" in networks.metrics(features)


def test_club_start_lets_q_learn_first():
    """The first steps move q alone; the count belongs to the state, so a resumed run does not wait again."""
    networks, features = sharing(quiet(club_start=3)), make_features()
    forces, learned = [], []
    for seed in range(3):
        networks.remember(alike(12, seed=3 + seed))
        seen = [make_features(5, seed=i) for i in range(20)]
        terms = [networks.model_terms(one)["club"] for one in seen]
        assert max(term.item() for term in terms) > 0
        forces.append(
            any(
                gradients(term, one)["text"] is not None
                and gradients(networks.model_terms(one)["club"], one)["text"].any()
                for term, one in zip(terms, seen, strict=True)
            )
        )
        learned.append(networks.update_terms(features)["club_nll"].item() != 0)
    assert forces == [False, True, True]
    assert learned == [True] * 3
    assert int(networks.state_dict()["steps"]) == 4


def test_statistics_follow_all_that_is_remembered():
    """Also beyond the size of the queue, and without one."""
    networks = AuxiliaryNetworks(DIM, queue_size=0)
    features = {key: 7.0 + 3.0 * value.detach() for key, value in make_features(400).items()}
    networks.remember(features)
    torch.testing.assert_close(networks.club.text_statistics.mean, features["text"].mean(0))
    torch.testing.assert_close(networks.club.visual_statistics.variance, features["visual"].var(0, unbiased=False))


@pytest.mark.parametrize("adversarial_loss", LOSSES)
@pytest.mark.parametrize("pairing", ["crossed", "matched"])
def test_parts_of_the_game_add_up_over_micro_batches(pairing, adversarial_loss):
    """Sums with one global normaliser: 4 and 1 objects give the model the loss of 5."""
    networks, features = quiet(pairing, adversarial_loss=adversarial_loss), make_features(5)
    parts = [{key: value[piece] for key, value in features.items()} for piece in (slice(4), slice(4, 5))]
    total = sum(networks.model_terms(part, num_objects=5)["adversarial"] for part in parts)
    torch.testing.assert_close(total, networks.model_terms(features)["adversarial"])


@pytest.mark.parametrize("sizes", [(4, 1), (1, 1, 1, 1, 1), (0, 5)])
def test_club_gradient_adds_up_over_processes_and_micro_batches(sizes):
    """Guards against a standardisation, and a clamp, that know the rows of one micro-batch."""
    networks, features = sharing(quiet()), make_features(5)
    whole = networks.model_terms(features)["club"]
    pieces = [{key: rows.split(sizes)[part] for key, rows in features.items()} for part in range(len(sizes))]
    parts = sum(networks.model_terms(piece, num_objects=5)["club"] for piece in pieces)
    torch.testing.assert_close(parts, whole)
    expected, found = gradients(whole, features), gradients(parts, features)
    for key in ("text", "visual"):
        assert expected[key].abs().sum() > 0
        torch.testing.assert_close(found[key], expected[key], atol=1e-7, rtol=1e-5)


def test_club_term_weighs_a_process_by_its_objects():
    """A process with 5 objects where 10 is the mean counts half; unweighted, few would count as much as many."""
    networks, features = sharing(quiet()), make_features()
    torch.testing.assert_close(
        networks.model_terms(features, num_objects=10)["club"], 0.5 * networks.model_terms(features)["club"]
    )


def test_unequal_classes_do_not_tilt_the_discriminators():
    """Twice the image rows for the same objects is the same question; without labels D_t has nothing to learn."""
    networks, features = quiet(), make_features()
    doubled = {**features, "real_visual": features["real_visual"].repeat(2, 1)}
    expected = networks.update_terms(features)["discriminators"]
    torch.testing.assert_close(networks.update_terms(doubled)["discriminators"], expected)
    networks.update_terms({**features, "real_text": torch.zeros(0, DIM)})["discriminators"].backward()
    assert all(torch.count_nonzero(p.grad) == 0 for p in networks.text_discriminator.parameters())
    assert any(torch.count_nonzero(p.grad) for p in networks.visual_discriminator.parameters())


@pytest.mark.parametrize("adversarial_loss", LOSSES)
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_a_process_without_objects_takes_part(spectral_norm, adversarial_loss):
    """Zero rows, as bfloat16 from a wrapped model: exact zeros, connected on both sides, finite figures."""
    networks = AuxiliaryNetworks(DIM, adversarial_loss=adversarial_loss, spectral_norm=spectral_norm)
    features = {key: torch.zeros(0, DIM, dtype=torch.bfloat16, requires_grad=True) for key in FEATURES}
    terms, updates = networks.model_terms(features), networks.update_terms(features)
    assert [value.item() for value in (*terms.values(), *updates.values())] == [0.0] * 4
    sum(terms.values()).backward()
    assert features["text"].grad.shape == (0, DIM)
    sum(updates.values()).backward()
    assert all(torch.count_nonzero(parameter.grad) == 0 for parameter in networks.parameters())
    assert all(torch.isfinite(value) for value in networks.metrics(features).values())
    networks.remember(features)
    assert len(networks.queue) == 0
    assert not networks.club.ready


def test_spectral_norm_state_does_not_depend_on_the_number_of_objects():
    """The power iteration runs per call; a process that skipped the call would end with other weights."""
    torch.manual_seed(0)
    one = AuxiliaryNetworks(DIM, instance_noise=0.0)
    other = copy.deepcopy(one)
    one.update_terms(make_features(5))
    other.update_terms(make_features(0))
    for first, second in zip(one.buffers(), other.buffers(), strict=True):
        assert torch.equal(first, second)


def test_literal_equation_warns_and_degenerates():
    """Eq. 3 as printed: a constant discriminator ("everything is real" and "nothing is") reaches its supremum 0."""
    with pytest.warns(UserWarning, match="degenerate"):
        networks = quiet("literal")
    optimizer = torch.optim.Adam(networks.parameters(), 2e-2)
    start = networks.update_terms(make_features(64))["discriminators"].item()
    assert start == pytest.approx(2 * math.log(2), abs=0.3)
    for step in range(200):
        optimizer.zero_grad()
        networks.update_terms(make_features(64, seed=step))["discriminators"].backward()
        optimizer.step()
    assert networks.update_terms(make_features(64, seed=999))["discriminators"].item() < 0.05
    assert networks.metrics(make_features())["accuracy_visual"].item() == 0.5


@pytest.mark.parametrize("adversarial_loss", LOSSES)
def test_adversarial_value_at_equilibrium(adversarial_loss):
    """Undecided discriminators: log 2 for each decoupled feature, log 4 for two (Eq. 4 at zero divergence)."""
    networks = quiet(adversarial_loss=adversarial_loss, label_smoothing=0.0)
    for discriminator in (networks.visual_discriminator, networks.text_discriminator):
        for parameter in discriminator.parameters():
            torch.nn.init.zeros_(parameter)
    features = make_features()
    assert networks.model_terms(features)["adversarial"].item() == pytest.approx(math.log(4), abs=1e-6)
    assert networks.update_terms(features)["discriminators"].item() == pytest.approx(2 * math.log(4), abs=1e-6)


def train_discriminator(draw_real, draw_other, steps=150):
    torch.manual_seed(0)
    discriminator = Discriminator(DIM)
    optimizer = torch.optim.Adam(discriminator.parameters(), 5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        discriminator.training_loss(draw_real(128), draw_other(128)).backward()
        optimizer.step()
    discriminator.eval()
    return discriminator.accuracy(draw_real(2000), draw_other(2000)).item()


def test_discriminator_learns_what_can_be_separated():
    """Different directions are found; different scales alone are not, because features are normalised first."""
    direction = torch.arange(DIM).float() - 3.5

    def shifted(number):
        return torch.randn(number, DIM) + direction

    def scaled(number):
        return 50 * torch.randn(number, DIM)

    def standard(number):
        return torch.randn(number, DIM)

    assert train_discriminator(shifted, standard) > 0.95
    assert train_discriminator(standard, standard) == pytest.approx(0.5, abs=0.05)
    assert train_discriminator(scaled, standard) == pytest.approx(0.5, abs=0.05)


def play(pairing, adversarial_loss, seed=0, steps=400):
    """Two clouds play against their discriminators; their mean places over the last half, and the targets."""
    torch.manual_seed(seed)
    targets = {"text": torch.randn(DIM), "visual": torch.randn(DIM)}
    centres = {key: torch.randn(DIM).requires_grad_() for key in targets}
    places = {key: torch.zeros(DIM) for key in targets}
    networks = AuxiliaryNetworks(DIM, pairing, adversarial_loss, num_components=1, queue_size=0)
    game = torch.optim.Adam(centres.values(), 1e-2)
    training = torch.optim.Adam(networks.parameters(), 5e-3)
    for step in range(steps):
        features = {key: centre + 0.3 * torch.randn(32, DIM) for key, centre in centres.items()}
        features |= {f"real_{key}": target + 0.3 * torch.randn(32, DIM) for key, target in targets.items()}
        training.zero_grad()
        networks.update_terms(features)["discriminators"].backward()
        training.step()
        game.zero_grad()
        networks.model_terms(features)["adversarial"].backward()
        game.step()
        for key in targets:
            places[key] += centres[key].detach() * (step >= steps // 2)
    return places, targets


@pytest.mark.parametrize(("pairing", "adversarial_loss"), [("crossed", "reversal"), ("matched", "non_saturating")])
def test_the_game_moves_features_to_their_target(pairing, adversarial_loss):
    """Crossed: h_t becomes like real visual features, h_v like real textual ones; matched: each like its own kind.

    Every pairing and every loss once: what they do together is `test_the_game_in_closed_form`.
    """
    places, targets = play(pairing, adversarial_loss)
    opposite = {"text": "visual", "visual": "text"}
    for key, place in places.items():
        wanted = targets[opposite[key] if pairing == "crossed" else key]
        assert torch.corrcoef(torch.stack([place, wanted]))[0, 1] > 0.85


def shared_after_the_game(weight, club_steps=4, steps=300):
    """Two linear maps of one state learn two independent halves of it, from starts that are all but one map.

    Returns the part of h_t's variance that a linear fit on 1,000 fresh pairs explains on 1,000 others.
    """
    torch.manual_seed(0)
    states, centre = 2 * DIM, torch.randn(2 * DIM)
    visual_map = (torch.randn(states, DIM) / states**0.5).requires_grad_()
    text_map = (visual_map.detach() + 0.4 * torch.randn(states, DIM) / states**0.5).requires_grad_()
    heads = torch.nn.ModuleList(torch.nn.Linear(DIM, DIM // 2) for _ in range(2))
    networks = quiet(num_components=2, club_start=50)
    model = torch.optim.Adam([visual_map, text_map, *heads.parameters()], 2e-3)
    fitting = torch.optim.AdamW(networks.club.parameters(), 1e-3)
    for _ in range(steps):
        state = torch.randn(16, states)
        features = {"visual": (state + centre) @ visual_map, "text": (state + centre) @ text_map}
        wanted = {"visual": state[:, : DIM // 2], "text": state[:, DIM // 2 : DIM]}
        pairs = zip(heads, ("visual", "text"), strict=True)
        loss = sum((head(features[key]) - wanted[key]).square().mean() for head, key in pairs)
        features |= {f"real_{key}": features[key].detach() for key in wanted}
        model.zero_grad()
        (loss + weight * networks.model_terms(features)["club"]).backward()
        model.step()
        for _ in range(club_steps):
            fitting.zero_grad()
            networks.club_update(features).backward()
            fitting.step()
        networks.remember(features)
    state = torch.randn(2000, states)
    visual, text = (state @ one.detach() for one in (visual_map, text_map))
    solution = torch.linalg.lstsq(visual[:1000], text[:1000]).solution
    return 1.0 - ((text[1000:] - visual[1000:] @ solution).square().mean(0) / text[1000:].var(0)).mean().item()


def test_minimising_club_parts_the_prompts():
    """Guards against an estimate that falls while the information stays: the judge is a fresh held-out fit.

    .58 without the term, .13 with it.
    """
    without, with_club = shared_after_the_game(0.0, club_steps=1), shared_after_the_game(1.0)
    assert with_club < 0.5 * without


def test_state_round_trip():
    """A resumed training continues bit by bit: weights, power iteration and queue are all state."""
    torch.manual_seed(0)
    one, other = AuxiliaryNetworks(DIM, instance_noise=0.0), AuxiliaryNetworks(DIM, instance_noise=0.0)
    one.remember(make_features(7))
    assert one.club.ready
    one.update_terms(make_features())
    other.load_state_dict(one.state_dict())
    features = make_features(seed=4)
    for name, value in one.model_terms(features).items():
        assert torch.equal(value, other.model_terms(features)[name]), name
        other.load_state_dict(one.state_dict())


def test_metrics_do_not_disturb_the_training():
    networks, features = AuxiliaryNetworks(DIM), make_features()
    networks.remember(make_features(7))
    before = copy.deepcopy(networks.state_dict())
    random_state = torch.get_rng_state()
    figures = networks.metrics(features)
    assert set(figures) == {"accuracy_visual", "accuracy_text", "mutual_information", "club_nll"}
    assert networks.training
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())


def test_invalid_input_is_named():
    networks, features = quiet(), make_features()
    with pytest.raises(ValueError, match="crossed"):
        AuxiliaryNetworks(DIM, "swapped")
    with pytest.raises(ValueError, match="real_text"):
        networks.model_terms({key: features[key] for key in ("text", "visual", "real_visual")})
    with pytest.raises(ValueError, match="'text' must be"):
        networks.update_terms({**features, "text": torch.zeros(5, DIM + 1)})
    with pytest.raises(ValueError, match="paired by object"):
        networks.metrics({**features, "text": torch.zeros(4, DIM)})
    with pytest.raises(ValueError, match="label_smoothing"):
        Discriminator(DIM, label_smoothing=1.0)
