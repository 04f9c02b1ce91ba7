"""Auxiliary heads: what they answer goes into the loss, and into nothing else."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from timelift import Inflate, lift
from timelift.auxiliary import Beside, answer_beside, auxiliary_answers, is_asked
from timelift.networks.auxiliary_head import AuxiliaryHead
from timelift.training.mixup import Mix
from timelift.training.objective import auxiliary_loss
from training_tiny import run, weights


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def tiny_with_head():
    torch.manual_seed(0)
    head = AuxiliaryHead(4, 3, side=8, norm="batch", momentum=0.1)
    net = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(2, 4, 3, padding=1),
            auxiliary=head,
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(4, 3),
        )
    )
    return lift(net, Inflate(3), example=torch.zeros(1, 2, 8, 8))


def test_the_loss_of_a_head_is_that_of_its_mean_over_frames_times_its_weight():
    logits, labels = normal(2 * 5, 3), torch.tensor([2, 0])
    wanted = 0.4 * cross_entropy(logits.reshape(2, 5, 3).mean(1).float(), labels, reduction="sum")
    came = auxiliary_loss([Beside(logits, 0.4)], labels, 0.0, None)
    torch.testing.assert_close(came, wanted)
    twice = auxiliary_loss([Beside(logits, 0.4), Beside(logits, 0.2)], labels, 0.0, None)
    torch.testing.assert_close(twice, 1.5 * wanted)
    assert auxiliary_loss([], labels, 0.0, None) == 0


def test_the_loss_of_a_head_mixes_labels_as_the_networks_own():
    logits, labels = normal(2, 3), torch.tensor([2, 0])
    mix = Mix(share=0.3, partner=torch.tensor([1, 0]))
    own, other = (cross_entropy(logits.float(), y, reduction="sum") for y in (labels, labels.flip(0)))
    came = auxiliary_loss([Beside(logits, 1.0)], labels, 0.0, mix)
    torch.testing.assert_close(came, 0.3 * own + 0.7 * other)


def test_scopes_are_apart_and_end_on_error():
    answer_beside(normal(2, 3), 0.4)  # nobody asks: nothing is kept
    with auxiliary_answers() as outer:
        answer_beside(normal(2, 3), 0.4)
        try:
            with auxiliary_answers() as inner:
                answer_beside(normal(2, 3), 0.4)
                raise KeyError
        except KeyError:
            pass
        assert is_asked()
        assert (len(outer), len(inner)) == (1, 1)
    assert not is_asked()


def test_training_moves_the_head_and_what_it_hangs_on(tmp_path):
    model = tiny_with_head()
    before = weights(model)
    trained, _ = run(tmp_path, model, groups=model.parameter_groups())
    moved = {name for name, tensor in weights(trained).items() if not torch.equal(tensor, before[name])}
    assert {name for name, _ in model.named_parameters()} <= moved
    clip = torch.zeros(2, 2, 3, 8, 8)
    with auxiliary_answers() as given:
        trained.eval()(clip)
    assert given == []


def test_a_weight_of_zero_trains_the_network_as_if_the_head_were_not_there(tmp_path):
    with_head, without = tiny_with_head(), tiny_with_head()
    with_head.image_net.auxiliary.weight = 0.0
    without.image_net.auxiliary = nn.Identity()
    groups = without.parameter_groups()
    run(tmp_path / "a", with_head, groups=with_head.parameter_groups())
    run(tmp_path / "b", without, groups=groups)
    ours, theirs = weights(with_head), weights(without)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-6, atol=1e-7)
