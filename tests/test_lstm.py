"""LSTMs over frames: the equations, the composite that learns without labels, and classifiers on features."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import Inflate, MaxPool, create_model, first, image_network, lift, named, with_lstm
from timelift.clip import Framewise
from timelift.deploy.stream import Stream
from timelift.networks.lstm import ClipLSTM, PeepholeLayer, PeepholeLSTM
from timelift.records.errors import UsageError
from timelift.systems.composite_lstm import CompositeLSTM, composite_loss, encoder_state
from timelift.systems.lstm import lrcn, mean_probability
from timelift.systems.mansimov_lstm import mansimov_lstm, spatial_convnet_lstm
from timelift.testing import wake


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def felt(module, scale=0.5):
    """In float64, every parameter drawn: what starts at 0.01 or at zero would be felt by no comparison."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# The equations


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step_by_hand(layer, shown, h, c):
    """One step of one layer for one clip, gate by gate; shown: what comes in, or None."""
    dense, (diag_i, diag_f, diag_o), b = (p.detach().numpy() for p in (layer.w_dense, layer.w_diag, layer.b))
    size = len(h)

    def drive(gate):
        rows = slice(gate * size, (gate + 1) * size)
        seen = 0 if shown is None else layer.w_input.detach().numpy()[rows] @ shown
        return dense[rows] @ h + b[rows] + seen

    i, f = sigmoid(drive(0) + diag_i * c), sigmoid(drive(1) + diag_f * c)
    c = f * c + i * np.tanh(drive(2))
    return sigmoid(drive(3) + diag_o * c) * np.tanh(c), c


def by_hand(lstm, shown, state=None):
    """Answers of the top layer for one clip, and every layer's (h, c)."""
    hidden = lstm.hidden
    state = state or [(np.zeros(hidden), np.zeros(hidden)) for _ in lstm.layers]
    answers = []
    for one in shown:
        for index, layer in enumerate(lstm.layers):
            state[index] = step_by_hand(layer, one, *state[index])
            one = state[index][0]
        answers.append(one)
    return np.array(answers), state


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("length", [1, 5])
def test_the_lstm_is_the_papers_equations(length, layers):
    lstm = felt(PeepholeLSTM(3, 4, layers))
    sequence = numbers(2, length, 3)
    answers, state = lstm(sequence)
    for index in range(2):
        wanted, ends = by_hand(lstm, sequence[index].numpy())
        np.testing.assert_allclose(answers[index].detach(), wanted, atol=1e-12)
        np.testing.assert_allclose(state[:, :, index].detach(), np.array(ends), atol=1e-12)


def test_every_peephole_is_felt():
    for row in range(3):
        layer = felt(PeepholeLayer(3, 4))
        sequence, state = numbers(1, 1, 3), numbers(2, 1, 4, seed=1)
        before = layer(sequence, state)[0]
        with torch.no_grad():
            layer.w_diag[row] += 1
        assert (layer(sequence, state)[0] != before).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_without_peepholes_it_is_pytorchs_lstm(layers):
    """PyTorch's gates stand in the same order, with two shifts instead of one."""
    lstm = felt(PeepholeLSTM(3, 4, layers, peepholes=False))
    other = nn.LSTM(3, 4, layers, batch_first=True).double()
    state = {}
    for index, layer in enumerate(lstm.layers):
        nn.init.zeros_(layer.w_diag)
        names = {"weight_ih": layer.w_input, "weight_hh": layer.w_dense, "bias_ih": layer.b}
        state |= {f"{name}_l{index}": tensor.detach() for name, tensor in names.items()}
        state[f"bias_hh_l{index}"] = torch.zeros(16)
    other.load_state_dict(state)
    sequence = numbers(2, 6, 3)
    torch.testing.assert_close(lstm(sequence)[0], other(sequence)[0])


def test_the_published_start():
    lstm = seeded(lambda: PeepholeLSTM(30, 50))
    (layer,) = lstm.layers
    for tensor, bound in ((layer.w_input, 0.01), (layer.w_dense, 0.01), (layer.w_diag, 0.1)):
        assert 0.9 * bound < tensor.abs().max() <= bound
        assert abs(tensor.mean()) < 0.2 * bound
    assert not layer.b.any()


def test_frozen_peepholes_stay_zero_and_are_counted():
    lstm = PeepholeLSTM(3, 4, peepholes=False)
    assert count(lstm) == count(PeepholeLSTM(3, 4))
    optimizer = torch.optim.SGD((p for p in lstm.parameters() if p.requires_grad), lr=1.0)
    before = lstm.layers[0].w_dense.clone()
    lstm(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)))[0].sum().backward()
    optimizer.step()
    assert not lstm.layers[0].w_diag.any()
    assert (lstm.layers[0].w_dense != before).any()


@pytest.mark.parametrize(("hidden", "layers"), [(0, 1), (4, 0)])
def test_an_lstm_of_nothing_is_refused(hidden, layers):
    with pytest.raises(UsageError, match="at least 1"):
        PeepholeLSTM(3, hidden, layers)


# On clips


@pytest.mark.parametrize("cuts", [(1, 2, 3, 4, 5, 6), (3,), (1, 5)], ids=str)
def test_pieces_give_what_the_whole_clip_gives(cuts):
    lstm = felt(ClipLSTM(3 * 2 * 5, 4, layers=2))
    whole = numbers(2, 3, 7, 2, 5)
    state, answers = None, []
    for piece in whole.tensor_split(cuts, dim=2):
        answer, state = lstm.advance(piece, state)
        answers.append(answer)
    assert lstm(whole).shape == (2, 4, 7, 1, 1)
    torch.testing.assert_close(torch.cat(answers, dim=2), lstm(whole))


def test_a_frame_is_read_channel_by_channel():
    lstm = felt(ClipLSTM(3 * 2 * 5, 4))
    whole = numbers(2, 3, 4, 2, 5)
    rows = torch.stack([whole[:, :, t].reshape(2, -1) for t in range(4)], dim=1)
    torch.testing.assert_close(lstm(whole)[..., 0, 0].transpose(1, 2), lstm.lstm(rows)[0])


def test_frames_of_another_size_are_refused():
    with pytest.raises(UsageError, match="takes 30 numbers a frame and got 48"):
        ClipLSTM(30, 4)(torch.zeros(1, 3, 2, 4, 4))


# The composite


def said_by_hand(decoder, shown, state):
    """One clip's answers; shown: for every step the frame before it, or a function of the last answer."""
    weight, bias = decoder.output.weight.detach().numpy(), decoder.output.bias.detach().numpy()
    said, state = [], list(state)
    for frame in shown:
        answers, state = by_hand(decoder.lstm, [frame(said[-1]) if callable(frame) else frame], state)
        said.append(weight @ answers[0] + bias)
    return np.array(said)


NOTHING = np.zeros(3)


@pytest.mark.parametrize("layers", [1, 2])
def test_true_frames_are_shown_backwards_and_forwards(layers):
    model = felt(CompositeLSTM(3, 4, layers))
    past, future = numbers(2, 5, 3), numbers(2, 4, 3, seed=1)
    decoded = model(past, future)
    for index in range(2):
        old, new = past[index].numpy(), future[index].numpy()
        ends = by_hand(model.encoder, old)[1]
        rebuilt = said_by_hand(model.reconstruction, [NOTHING, *old[:0:-1]], ends)
        predicted = said_by_hand(model.prediction, [NOTHING, *new[:-1]], ends)
        np.testing.assert_allclose(decoded.reconstruction[index].detach(), rebuilt[::-1], atol=1e-12)
        np.testing.assert_allclose(decoded.prediction[index].detach(), predicted, atol=1e-12)


@pytest.mark.parametrize("binary", [False, True])
def test_a_dream_is_shown_what_was_said(binary):
    model = felt(CompositeLSTM(3, 4, 2, binary=binary))
    past = numbers(1, 5, 3)
    dream = model.dream(past, 6)
    ends = by_hand(model.encoder, past[0].numpy())[1]
    frame_of = sigmoid if binary else np.asarray

    rebuilt = frame_of(said_by_hand(model.reconstruction, [NOTHING] + 4 * [frame_of], ends))
    predicted = frame_of(said_by_hand(model.prediction, [NOTHING] + 5 * [frame_of], ends))
    np.testing.assert_allclose(dream.reconstruction[0].detach(), rebuilt[::-1], atol=1e-12)
    np.testing.assert_allclose(dream.prediction[0].detach(), predicted, atol=1e-12)


def test_an_unconditional_decoder_is_shown_nothing():
    model = felt(CompositeLSTM(3, 4, 2, conditional=False))
    past = numbers(2, 5, 3)
    one, other = model(past, numbers(2, 4, 3, seed=1)), model(past, numbers(2, 4, 3, seed=2))
    torch.testing.assert_close(one.prediction, other.prediction, rtol=0, atol=0)
    dream = model.dream(past, 4)
    torch.testing.assert_close(dream.reconstruction, one.reconstruction)
    torch.testing.assert_close(dream.prediction, one.prediction)
    ends = by_hand(model.encoder, past[0].numpy())[1]
    wanted = said_by_hand(model.prediction, 4 * [None], ends)
    np.testing.assert_allclose(one.prediction[0].detach(), wanted, atol=1e-12)


def test_lengths_are_free():
    model = CompositeLSTM(3, 4)
    for length, steps in ((1, 1), (2, 7), (6, 1)):
        shapes = [tuple(t.shape) for t in model(torch.zeros(2, length, 3), torch.zeros(2, steps, 3))]
        dreamt = [tuple(t.shape) for t in model.dream(torch.zeros(2, length, 3), steps)]
        assert shapes == dreamt == [(2, length, 3), (2, steps, 3)]


@pytest.mark.parametrize("binary", [False, True])
def test_the_loss_is_summed_over_numbers_and_frames(binary):
    model = felt(CompositeLSTM(3, 4, binary=binary))
    past, future = numbers(2, 5, 3).sigmoid(), numbers(2, 4, 3, seed=1).sigmoid()
    total = 0.0
    for answers, true in zip(model(past, future), (past, future), strict=True):
        said, true = answers.detach().numpy(), true.numpy()
        if binary:
            total -= (true * np.log(sigmoid(said)) + (1 - true) * np.log(1 - sigmoid(said))).sum()
        else:
            total += 0.5 * ((said - true) ** 2).sum()
    assert float(composite_loss(model, past, future).detach()) == pytest.approx(total / 2)


def bouncing(clips, length, width, generator):
    """A bright spot that runs to and fro in a row of `width` pixels: (clips, length, width)."""
    places = torch.randint(2 * width - 2, (clips, 1), generator=generator) + torch.arange(length)
    places = places % (2 * width - 2)
    return torch.nn.functional.one_hot(torch.minimum(places, 2 * width - 2 - places), width).float()


@pytest.mark.parametrize(("binary", "conditional"), [(True, True), (True, False), (False, True)])
def test_it_learns_a_bouncing_spot(binary, conditional):
    model = seeded(lambda: CompositeLSTM(6, 24, conditional=conditional, binary=binary))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        spots = bouncing(16, 9, 6, generator)
        loss = composite_loss(model, spots[:, :5], spots[:, 5:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("conditional", [False, True])
def test_gradients_reach_every_tensor_of_the_composite(conditional):
    model = felt(CompositeLSTM(3, 4, 2, conditional))
    composite_loss(model, numbers(2, 5, 3), numbers(2, 4, 3, seed=1)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().min() > 0, name


@pytest.mark.parametrize(
    ("pixels", "layers", "published"),
    [(3072, 1, 138_461_184), (4096, 1, 167_823_360), (4096, 2, 268_529_664)],
)
def test_the_composites_published_sizes(pixels, layers, published):
    with torch.device("meta"):
        assert count(CompositeLSTM(pixels, layers=layers)) == published


# The composite's encoder as a classifier


def small_composite(weights=None, **options):
    return create_model("composite_lstm", weights=weights, size=4, hidden=6, **options)


def test_the_classifier_is_the_encoder_and_a_layer_at_every_step():
    composite = felt(CompositeLSTM(3 * 4 * 4, 6, layers=2))
    state = {name: tensor.float() for name, tensor in composite.state_dict().items()}
    model = small_composite(state, classes=5, layers=2).double()
    shown = clip(5, side=4).double()
    rows = shown.transpose(1, 2).flatten(2)
    wanted = model.image_net.head.classes(composite.float().double().encoder(rows)[0])
    torch.testing.assert_close(model.per_frame(shown), wanted)
    assert wanted.std() > 0.01
    torch.testing.assert_close(model(shown).softmax(1), wanted.softmax(2).mean(1))


def test_an_encoder_is_kept_and_its_classes_are_new(tmp_path):
    composite = CompositeLSTM(3 * 4 * 4, 6)
    save_file(composite.state_dict(), tmp_path / "composite.safetensors")
    model = small_composite(tmp_path / "composite.safetensors", classes=5)
    groups = {name.rpartition(".")[2] if "lstm" in name else "classes": g for name, g in model.groups.items()}
    assert groups == {"w_input": "kept", "w_dense": "kept", "w_diag": "kept", "b": "kept", "classes": "new"}
    assert "composite" in model.receipt.notes[0]
    assert set(small_composite(classes=5).groups.values()) == {"new"}


def test_encoder_state_leaves_its_argument_alone():
    state = CompositeLSTM(3, 4).state_dict()
    before = dict(state)
    assert len(encoder_state(state)) == 6
    assert state.keys() == before.keys()


def test_an_encoder_of_other_patches_is_refused():
    with pytest.raises(UsageError, match=r"w_input \(24, 3\), wanted \(24, 48\)"):
        small_composite(CompositeLSTM(3, 6).state_dict())


def test_patches_have_pixels():
    with pytest.raises(UsageError, match="size=0"):
        create_model("composite_lstm", size=0)


def test_the_classifiers_published_size_is_the_features_lstm():
    with torch.device("meta"):
        model = create_model("composite_lstm", classes=101, in_channels=4096, size=1)
        answers = model.per_frame(torch.zeros(2, 4096, 16, 1, 1))
    assert count(model) == 50_552_933
    assert answers.shape == (2, 16, 101)


# An LSTM on any video network


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_mean_of_probabilities(length):
    logits = 3 * numbers(2, length, 4)
    together = mean_probability(logits)
    torch.testing.assert_close(together.exp(), logits.softmax(2).mean(1))
    torch.testing.assert_close(mean_probability(logits + 2000), together)


RULES = [
    (Framewise(),),
    (Inflate(3, "negative") @ first(2),),
    (Inflate(3) @ first(1), MaxPool(2) @ named("pool1")),
]


def tiny_lstm(*rules):
    """A woken network, lifted, under an LSTM that is felt."""
    model = (
        with_lstm(lift(wake(seeded(Tiny), frames(4)), *rules), 3, hidden=4, peepholes=True).double().eval()
    )
    felt(model.image_net.head)
    return model


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_the_lstm_sees_what_the_last_layer_saw(rules):
    model, video = tiny_lstm(*rules), lift(wake(seeded(Tiny), frames(4)), *rules)
    shown = clip(5).double()
    seen = []
    hook = video.image_net.fc.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    per_frame = video.per_frame(shown)
    hook.remove()
    features = seen[0].unflatten(0, (2, -1))  # (B, T', 12)
    head = model.image_net.head
    wanted = head.classes(head.lstm.on_clips.lstm(features)[0])
    torch.testing.assert_close(model.per_frame(shown), wanted)
    assert wanted.shape[1] == per_frame.shape[1]
    torch.testing.assert_close(model(shown), wanted.mean(1))


def test_the_video_network_below_is_left_alone():
    video = lift(seeded(Tiny), Inflate(3) @ first(1))
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    model = with_lstm(video, 3, hidden=4)
    felt(model)
    assert video.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in video.state_dict().items())
    assert video(clip(2)).shape == (2, 5)


def test_groups_and_receipt_follow_the_layers():
    video = lift(seeded(Tiny), Inflate(3, "zero") @ first(1))
    model = with_lstm(video, 3, hidden=4)
    new = {name for name, group in model.parameter_groups().items() if group == "new"}
    assert new == {name for name, _ in model.named_parameters() if name.startswith("image_net.head.")}
    assert model.groups["image_net.features.conv1.on_clips.weight"] == "lifted"
    assert not any("fc" in name for name, _ in model.named_parameters())
    assert model.receipt.parameters_after == count(model)
    grown = video.receipt.parameters_after - video.receipt.parameters_before
    assert model.receipt.parameters_after - model.receipt.parameters_before == grown


@pytest.mark.parametrize(
    ("network", "features"),
    [
        ("torchvision:squeezenet1_1", 512),  # classifies by a convolution on maps
        ("timm:deit_tiny_distilled_patch16_224", 192),  # has two last layers
        ("torchvision:vgg11", 4096),  # dropout and ReLU stand before the last layer
    ],
)
def test_last_layers_of_every_kind_are_taken_away(network, features):
    with torch.device("meta"):
        model = with_lstm(lift(image_network(network, weights=None)), 3, hidden=4)
        answers = model.per_frame(torch.zeros(2, 3, 2, 224, 224))
    assert model.image_net.head.lstm.on_clips.lstm.inputs == features
    assert answers.shape == (2, 2, 3)
    assert model.image_net.image_facts.classifier == "head.classes"


def small_lrcn(**options):
    return create_model("lrcn", network="timm:test_resnet", hidden=8, **{"classes": 3} | options)


def test_a_frame_changes_no_answer_before_it_and_every_one_from_it():
    model = tiny_lstm(Framewise())
    shown = clip(5).double()
    before = model.per_frame(shown)
    changed = shown.clone()
    changed[:, :, 2] += 1
    moved = (model.per_frame(changed) - before).abs().amax(dim=(0, 2))
    assert moved[:2].max() == 0
    assert moved[2:].min() > 1e-6


@pytest.mark.parametrize("build", [small_lrcn, lambda: small_composite(classes=3)])
def test_frame_by_frame_is_the_clip(build):
    model = felt(build().eval())
    shown = clip(5, side=4 if "composite" in model.image_net.image_facts.name else 32).double()
    stream = Stream(model)
    for seen, frame in enumerate(shown.unbind(2), start=1):
        answer = stream.step(frame)
        torch.testing.assert_close(answer.clip_logits, model(shown[:, :, :seen]))


@pytest.mark.parametrize("peepholes", [False, True])
def test_gradients_reach_everything_but_frozen_peepholes(peepholes):
    model = seeded(lambda: small_lrcn(peepholes=peepholes, start="average", in_channels=2))
    felt(model, 0.2)(clip(4, channels=2).double())[:, 0].sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    frozen = {n for n in model.groups if n.endswith("w_diag")}
    assert without == (set() if peepholes else frozen)


def test_a_still_clip_is_seen_alike_by_every_start():
    """Inflated kernels sum to the image network's: below the LSTM nothing changes while nothing moves."""
    image = wake(seeded(lambda: image_network("timm:test_resnet", weights=None)), frames(4)).float()
    still = clip(1).expand(-1, -1, 4, -1, -1)
    answers = []
    for start in (None, "negative", "average"):
        model = lrcn(3, 3, "timm:test_resnet", start, 8, image_state=image.state_dict()).double().eval()
        felt(model.image_net.head)
        answers.append(model.per_frame(still.double()))
        rules = [row.rule for row in model.receipt.converted]
        assert rules == ([] if start is None else 2 * [repr(Inflate(3, start))])
        moving = model.per_frame(clip(4).double())
        torch.testing.assert_close(answers[-1], answers[0], rtol=1e-4, atol=1e-4)  # slices of float32
        assert (moving - answers[0]).abs().max() > 1e-2


def test_image_weights_go_below_the_lstm():
    model = create_model("lrcn", hidden=4, weights="imagenet", in_channels=2)
    image = image_network("timm:tf_efficientnet_lite0", weights="imagenet")
    below = model.image_net.features
    torch.testing.assert_close(below.conv_head.weight, image.conv_head.weight)
    torch.testing.assert_close(below.conv_stem.weight.sum(1), image.conv_stem.weight.sum(1))
    assert below.conv_stem.weight.shape[1] == 2
    assert {g for name, g in model.groups.items() if ".features." in name} == {"kept"}
    assert {g for name, g in model.groups.items() if ".head." in name} == {"new"}
    facts = model.image_net.image_facts
    assert facts.pretrained
    assert len(facts.mean) == 2
    assert math.isclose(facts.mean[0], sum(image.image_facts.mean) / 3)
    assert set(small_lrcn().groups.values()) == {"new"}


def test_own_weights_come_back_with_other_classes():
    one = small_lrcn(classes=3)
    again = small_lrcn(classes=3, weights=one.state_dict())
    assert all(torch.equal(tensor, one.state_dict()[name]) for name, tensor in again.state_dict().items())
    other = small_lrcn(classes=4, weights=one.state_dict())
    assert {name for name, group in other.groups.items() if group == "new"} == {
        "image_net.head.classes.weight",
        "image_net.head.classes.bias",
    }


def test_what_cannot_be_is_one_clear_line():
    with pytest.raises(UsageError, match="sideways"):
        small_lrcn(start="sideways")
    with pytest.raises(UsageError, match="no image network with ImageNet weights"):
        create_model("spatial_convnet_lstm", weights="imagenet")


# CLS_net below


def test_the_networks_of_mansimov_under_the_lstm():
    below = 7_941_120 + 18432 * 4096 + 4096  # convolutions and hidden6
    with torch.device("meta"):
        model, lifted = spatial_convnet_lstm(), mansimov_lstm()
        steps = [m.per_frame(torch.zeros(1, 3, 16, 224, 224)).shape[1] for m in (model, lifted)]
    assert count(model) == below + 50_552_933
    assert count(lifted) == count(model) + 642_624
    assert steps == [16, 6]
    assert set(model.groups.values()) == {"new"}


def test_the_published_start_of_the_classifier_on_features():
    head = seeded(lambda: spatial_convnet_lstm(size=48, hidden=8)).image_net.head
    (layer,) = head.lstm.on_clips.lstm.layers
    assert layer.w_input.abs().max() <= 0.001
    assert 0.009 < layer.w_dense.abs().max() <= 0.01
    assert not layer.w_diag.any()
    assert not layer.w_diag.requires_grad
    assert float(head.classes.weight.detach().std()) == pytest.approx(0.001, rel=0.1)
    assert not head.classes.bias.any()
