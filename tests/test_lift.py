"""lift: ordered rules, one weight a layer, strides that meet, the scope of B under all that PyTorch does."""

import copy
import threading

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from heart_tiny import Tiny, clip, frames, seeded
from timelift import Factorize, Framewise, Inflate, MaxPool, VideoModel, every, first, lift, named
from timelift.clip import Clipwise
from timelift.conversions import ClipTooShort, ConversionError
from timelift.networks.images import import_timm
from timelift.records.errors import UsageError
from timelift.testing import wake


def tiny():
    return seeded(Tiny)


def lifted(*rules, **options):
    return lift(wake(tiny(), frames()), *rules, **options).eval()


def rules_of(video):
    return {row.layer: row.rule for row in video.receipt.converted}


def randomised(module):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return module


def test_the_image_network_is_left_untouched():
    net = tiny().train()
    net.bn1.eval()
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    randomised(lift(net, Inflate(3), MaxPool(2) @ named("pool1")))
    assert all(torch.equal(net.state_dict()[key], before[key]) for key in before)
    assert [module.training for module in net.modules()] == modes
    assert not any(isinstance(module, Clipwise) for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())


def test_the_lift_keeps_the_modes_of_its_modules():
    net = tiny().train()
    net.bn1.eval()
    video = lift(net, Inflate(3))
    assert video.image_net.layer1.training
    assert not video.image_net.bn1.training


@pytest.mark.parametrize(
    "rules",
    [
        (Inflate(3),),
        (Inflate(3, "negative") @ first(2),),
        (Inflate(3, stride="spatial"),),
        (Factorize(),),
        (Factorize(between="norm-act") @ named("*conv1"),),
        (MaxPool(2) @ named("layer1"), Inflate(3)),
        (Framewise(),),
        (),
    ],
)
def test_a_still_clip_gets_the_image_networks_answer(rules):
    net = wake(tiny(), frames())
    video = lift(net, *rules).eval()
    frame = frames(2, seed=7).double()
    answer = video(frame.unsqueeze(2).expand(-1, -1, 7, -1, -1))
    torch.testing.assert_close(answer, net(frame), rtol=1e-9, atol=1e-9)


def test_damaging_any_converted_layer_moves_the_answer():
    video = lifted(Inflate(3))
    still = frames(2, seed=7).double().unsqueeze(2).expand(-1, -1, 4, -1, -1)
    before = video(still)
    assert len(video.receipt.converted) == 5
    for row in video.receipt.converted:
        weight = video.image_net.get_submodule(row.layer).on_clips.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(0.5)
            assert (video(still) - before).abs().max() > 1e-6, row.layer
            weight.copy_(kept)


# --- rules ---


def test_rules_are_tried_in_order_and_the_first_match_wins():
    video = lifted(Inflate(3, "zero") @ first(2), Inflate(5) @ every)
    rules = rules_of(video)
    assert rules["conv1"] == rules["layer1.conv1"] == "Inflate(frames=3, start='zero')"
    assert [rules[name] for name in ("layer1.conv2", "layer2.conv1", "layer2.conv2")] == [
        "Inflate(frames=5)"
    ] * 3
    assert list(rules) == ["conv1", "layer1.conv1", "layer1.conv2", "layer2.conv1", "layer2.conv2"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((Inflate(3) @ named("nothing"),), "no layer is there"),
        ((Inflate(3), Factorize()), "earlier rules took all of its layers"),
        ((Framewise() @ named("layer*"), Inflate(3) @ named("layer1.conv1")), "earlier rules took"),
    ],
)
def test_a_rule_that_matches_nothing_is_an_error(rules, words):
    with pytest.raises(UsageError, match=words) as caught:
        lifted(*rules)
    assert "conv1, layer1.conv1" in str(caught.value)


def test_framewise_on_a_container_holds_for_all_inside():
    video = lifted(Framewise() @ named("layer1"), Inflate(3))
    assert list(rules_of(video)) == ["conv1", "layer2.conv1", "layer2.conv2"]
    assert {"layer1.conv1", "layer1.conv2"} <= set(video.receipt.framewise)


def test_lifting_twice_is_an_error():
    with pytest.raises(UsageError, match="lifted already"):
        lift(lifted(Inflate(3)), Inflate(3))
    with pytest.raises(UsageError, match="lifted already"):
        lift(lifted(Inflate(3)).image_net, Inflate(3))


def test_an_error_names_the_layer():
    with pytest.raises(ConversionError, match=r"^pool1 is a MaxPool2d"):
        lifted(Inflate(3) @ named("pool1"))
    with pytest.raises(ConversionError, match=r"^conv1 became a int"):
        lifted((lambda layer: 3) @ first(1))


def test_a_users_function_is_a_rule():
    video = lifted((lambda layer: Inflate(3)(layer)) @ first(1))
    assert list(rules_of(video)) == ["conv1"]


class Again(nn.Module):
    def __init__(self, twice):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        if twice:
            self.same = self.conv
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(self.stem(x).relu()).relu()
        return self.fc(getattr(self, "same", self.conv)(x).mean((2, 3)))


@pytest.mark.parametrize("twice", [False, True], ids=["run twice", "registered twice"])
def test_a_layer_that_runs_twice_keeps_one_weight(twice):
    net = seeded(lambda: Again(twice)).double().eval()
    video = lift(net, Inflate(3)).eval()
    assert len(video.receipt.converted) == 2
    shapes = [tuple(p.shape) for p in video.parameters()]
    assert shapes.count((4, 4, 3, 3, 3)) == 1
    assert (4, 4, 3, 3) not in shapes
    frame = frames().double()
    still = frame.unsqueeze(2).expand(-1, -1, 5, -1, -1)
    torch.testing.assert_close(video(still), net(frame))
    video.load_state_dict(video.state_dict())
    assert set(video.parameter_groups()) == {name for name, _ in video.named_parameters()}


def test_a_pool_behind_a_stage_leaves_the_rules_inside_it_alone():
    video = lifted(MaxPool(2) @ named("layer1"), Inflate(3))
    assert len(video.receipt.converted) == 6
    assert video.per_frame(clip(8).double()).shape == (2, 4, 5)
    groups = video.parameter_groups()
    inner = [name for name in groups if "layer1" in name and "conv1" in name]
    assert [groups[name] for name in inner] == ["lifted"]


# --- strides and lengths ---


def test_temporal_stride_goes_to_shortcuts_and_pools_beside_the_layer():
    video = lifted(Inflate(3, stride="spatial"))
    assert any("layer2.downsample.0: temporal stride 2" in note for note in video.receipt.notes)
    for length, outputs in ((8, 2), (7, 2), (1, 1), (5, 2)):
        assert video.per_frame(clip(length).double()).shape == (2, outputs, 5)


class Branches(nn.Module):
    """A strided convolution beside a strided pool, as in Inception."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Conv2d(7, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.cat([self.conv(x), self.pool(x)], dim=1)
        return self.fc(self.last(x).mean((2, 3)))


def test_a_pool_beside_a_strided_convolution_follows_it():
    video = lift(seeded(Branches), Inflate(3, stride="spatial") @ named("conv"))
    assert video.per_frame(clip(6)).shape == (2, 3, 2)
    assert "pool: temporal stride 2, as its parallel path" in video.receipt.notes


def test_lengths_that_disagree_are_found_at_once_and_the_block_is_named():
    with pytest.raises(UsageError, match=r"^layer2: .*different lengths"):
        lifted(MaxPool(2) @ named("layer2.conv1"))
    with pytest.raises(UsageError, match=r"^layer1: .*different lengths"):
        lifted(Inflate(3, padding="valid"))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.conv2(self.conv1(x)).mean((2, 3)))


def test_without_padding_the_smallest_length_is_named():
    video = lift(seeded(Plain), Inflate(3, padding="valid") @ named("conv1"), Inflate(4, padding="valid"))
    assert video.per_frame(clip(6)).shape == (2, 1, 2)
    with pytest.raises(ClipTooShort, match="the network takes clips of at least 6 frames"):
        video(clip(5))


# --- norm and activation ---


def norm_act_case(kind):
    timm = import_timm()
    from timm.layers import BatchNormAct2d

    assert timm

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.norm = BatchNormAct2d(4) if kind == "norm with its own act" else nn.BatchNorm2d(4)
            self.act = nn.SiLU() if kind == "own act" else nn.ReLU()
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
            self.norm2 = nn.BatchNorm2d(4)
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            x = self.norm(self.conv(x))
            if kind != "norm with its own act":
                x = self.act(x)
            x = self.norm2(self.conv2(x))
            if kind == "shared ReLU":
                x = self.act(x)
            return self.fc(x.mean((2, 3)))

    return seeded(Net)


@pytest.mark.parametrize(
    ("kind", "behind"), [("norm with its own act", "norm"), ("own act", "act"), ("shared ReLU", "norm")]
)
def test_norm_act_stands_behind_the_layers_own_and_starts_exact(kind, behind):
    net = wake(norm_act_case(kind), frames(side=6))
    video = lift(net, Factorize(between="norm-act") @ named("conv")).eval()
    assert video.receipt.converted[0].rule.endswith(f", behind {behind}")
    moving = clip(5).double()
    each = torch.stack([net(frame) for frame in moving.unbind(2)], dim=1)
    torch.testing.assert_close(video.per_frame(moving), each)
    (temporal,) = (p for p in video.parameters() if p.dim() == 5)
    with torch.no_grad():
        temporal.mul_(0.5)
    assert (video.per_frame(moving) - each).abs().max() > 1e-3


def test_norm_act_takes_the_second_layer_of_a_shared_relu_too():
    net = wake(norm_act_case("shared ReLU"), frames(side=6))
    video = lift(net, Factorize(between="norm-act") @ named("conv2")).eval()
    assert video.receipt.converted[0].rule.endswith(", behind norm2")


def test_an_activation_behind_an_addition_is_not_the_layers_own():
    with pytest.raises(ConversionError, match=r"^layer1\.conv2 has no norm and activation of its own"):
        lifted(Factorize(between="norm-act") @ named("layer1.conv2"))
    with pytest.raises(ConversionError, match="no norm takes its answer"):
        lift(seeded(Plain), Factorize(between="norm-act"))


# --- the receipt and the groups ---


def test_the_receipt_counts_and_names():
    video = lifted(Inflate(3, "random") @ named("conv1"), Factorize() @ named("layer1.conv1"))
    rows = {row.layer: row for row in video.receipt.converted}
    assert rows["conv1"].new == ("weight",)
    assert rows["layer1.conv1"].kept == ("spatial.layer.weight",)
    assert rows["layer1.conv1"].lifted == ("temporal.weight",)
    assert (rows["conv1"].parameters_before, rows["conv1"].parameters_after) == (216, 648)
    assert video.receipt.parameters_after == sum(p.numel() for p in video.parameters())
    assert video.receipt.parameters_before == sum(p.numel() for p in tiny().parameters())
    assert set(video.receipt.framewise) == {
        "layer1.conv2",
        "layer2.conv1",
        "layer2.conv2",
        "layer2.downsample.0",
    }
    assert "conv1: Inflate(frames=3, start='random')" in str(video.receipt)


def test_groups_name_every_parameter_once():
    video = lifted(Inflate(3, "random") @ named("conv1"), Inflate(3, stride="spatial"))
    groups = video.parameter_groups()
    assert list(groups) == [name for name, _ in video.named_parameters()]
    assert groups["image_net.conv1.on_clips.weight"] == "new"
    assert groups["image_net.layer2.conv1.on_clips.weight"] == "lifted"
    assert groups["image_net.layer2.downsample.0.on_clips.1.layer.weight"] == "kept"
    assert groups["image_net.fc.weight"] == "kept"


def test_random_numbers_that_the_caller_draws_are_the_same_after_a_lift():
    torch.manual_seed(3)
    lift(tiny(), Factorize())
    here = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(here, torch.rand(3))


# --- B, under everything that calls a network in its own way ---


def test_clips_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"\(B, C, T, H, W\)"):
        lifted(Inflate(3))(frames())


def test_two_models_in_two_threads_do_not_disturb_each_other():
    videos = [lifted(Inflate(3)), lifted(Inflate(3, "negative"))]
    clips = [clip(6, clips=2).double(), clip(4, clips=3).double()]
    alone = [video(x) for video, x in zip(videos, clips, strict=True)]
    together: list[list] = [[], []]
    barrier = threading.Barrier(2)

    def work(i):
        barrier.wait()
        for _ in range(8):
            together[i].append(videos[i](clips[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answers, wanted in zip(together, alone, strict=True):
        assert len(answers) == 8
        for answer in answers:
            torch.testing.assert_close(answer, wanted)


class Judge(nn.Module):
    """A head that asks another video model about a clip of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.other = inner, clip(3, clips=4).double()

    def forward(self, logits):
        return logits + self.inner(self.other).mean()


def test_a_model_inside_a_models_head_keeps_its_own_number_of_clips():
    inner, outer = lifted(Inflate(3, "negative")), lifted(Inflate(3))
    moving = clip(6).double()
    wanted = outer.per_frame(moving) + inner(clip(3, clips=4).double()).mean()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.judge, self.second = outer.image_net.conv1, Judge(inner), outer.image_net

        def forward(self, x):
            return self.judge(self.second(x))

    both = VideoModel(Net(), outer.receipt, {}).eval()
    torch.testing.assert_close(both.per_frame(moving), wanted)


def test_an_error_inside_restores_the_scope():
    video = lifted(Inflate(3))
    with pytest.raises(RuntimeError):
        video(clip(4, channels=2).double())
    with pytest.raises(RuntimeError, match="conv1 was called outside"):
        video.image_net(frames().double())
    assert video(clip(4).double()).shape == (2, 5)


class Checkpointed(nn.Module):
    def __init__(self, net, reentrant):
        super().__init__()
        self.net, self.reentrant = net, reentrant

    def forward(self, x):
        n = self.net
        x = n.relu(n.bn1(n.conv1(x)))
        for block in (n.layer1, n.layer2):
            x = checkpoint(block, x, use_reentrant=self.reentrant) if self.reentrant is not None else block(x)
        return n.fc(x.mean((2, 3)))


@pytest.mark.parametrize(("reentrant", "train"), [(False, False), (False, True), (True, True)])
def test_activation_checkpointing_gives_the_same_gradients(reentrant, train):
    def gradients(mode):
        net = wake(tiny(), frames())
        video = lift(Checkpointed(net, None), Inflate(3), example=frames().double()).train(train)
        video.image_net.reentrant = mode
        video(clip(4).double()).pow(2).sum().backward()
        return {name: p.grad for name, p in video.named_parameters()}

    wanted, came = gradients(None), gradients(reentrant)
    assert wanted.keys() == came.keys()
    for name in wanted:
        torch.testing.assert_close(came[name], wanted[name])


def test_checkpointing_never_guesses_between_two_readings_of_a_number_of_frames():
    video = lift(Checkpointed(tiny(), False), Inflate(3), example=frames()).train()
    video(clip(6, clips=2)).sum().backward()
    with pytest.raises(RuntimeError, match="different numbers of clips"):
        video(clip(4, clips=3)).sum().backward()


@pytest.mark.parametrize("same_padded", [False, True])
def test_export_gives_equal_answers(same_padded):
    net = tiny()
    if same_padded:
        import_timm()
        from timm.layers import Conv2dSame

        net.conv1 = seeded(lambda: Conv2dSame(3, 8, 3, stride=2))
    video = lift(net, Inflate(3, "negative")).eval()
    moving = clip(5)
    exported = torch.export.export(video, (moving,)).module()
    torch.testing.assert_close(exported(moving), video(moving))


def test_data_parallel_is_refused():
    replica = lifted(Inflate(3))._replicate_for_data_parallel()
    with pytest.raises(RuntimeError, match="DataParallel is not supported"):
        replica(clip().double())


def test_the_network_sees_channels_last_frames():
    seen = []
    video = lift(tiny(), Inflate(3)).eval()
    video.image_net.pool1.register_forward_hook(lambda m, a, out: seen.append(out))
    video(clip(4))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_a_network_that_does_not_take_the_usual_sizes_asks_for_an_example():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)
            self.fc = nn.Linear(2 * 12 * 12, 2)

        def forward(self, x):
            return self.fc(self.conv(x).flatten(1))

    with pytest.raises(UsageError, match=r"example=frames"):
        lift(Fixed(), Inflate(3))
    assert lift(Fixed(), Inflate(3), example=frames(1, 12))(clip(3, side=12)).shape == (2, 2)


def test_waking_shows_what_sleeps():
    net = tiny()
    nn.init.zeros_(net.layer1.bn2.weight)
    woken = wake(net, frames())
    assert woken.layer1.bn2.weight.abs().min() > 0.1
    assert woken.bn1.momentum == 0.1
    assert not woken.training
    assert torch.equal(net.layer1.bn2.weight, torch.zeros(8))
    nn.init.zeros_(net.fc.weight)
    with pytest.raises(UsageError, match="still sleeps"):
        wake(net, frames())
