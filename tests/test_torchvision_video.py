"""torchvision's own video networks are the oracle: their weights in our systems give their answers."""

from dataclasses import dataclass, field
from functools import cache

import pytest
import torch
from torch import nn

from timelift import create_model
from timelift.networks.images import import_torchvision
from timelift.records.errors import UsageError
from timelift.testing import wake

EXACT = 1e-8  # relative, in float64


@dataclass(frozen=True, eq=False)
class Peer:
    """One of torchvision's networks, our name and options for it, and clips (T, H, W) to compare on."""

    name: str
    ours: str
    options: dict = field(default_factory=dict)
    clips: tuple = ((16, 24, 24), (5, 25, 31), (1, 40, 24))
    slow_clips: tuple = ((16, 64, 64), (32, 80, 80), (16, 112, 112))
    awake_on: tuple = (4, 24, 24)

    def __str__(self):
        return self.name


PEERS = (
    Peer("r3d_18", "r3d_18"),
    Peer("mc3_18", "mc3_18"),
    Peer("r2plus1d_18", "r2plus1d_18", {"midplanes": "torchvision"}),
)


def clip(size, clips=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips, 3, *size, generator=generator, dtype=torch.float64)


@cache
def theirs(peer: Peer) -> nn.Module:
    """torchvision's network, awake, in float64 with weights that float32 holds exactly."""
    torch.manual_seed(0)
    net = getattr(import_torchvision().models.video, peer.name)(weights=None, num_classes=400)
    return wake(net, clip(peer.awake_on, clips=3)).float().double()


@cache
def ours(peer: Peer) -> nn.Module:
    return (
        create_model(peer.ours, weights=theirs(peer).state_dict(), classes=400, **peer.options)
        .double()
        .eval()
    )


def difference(peer, size, clips):
    x = clip(size, clips)
    with torch.no_grad():
        wanted, came = theirs(peer)(x), ours(peer)(x)
    return float((came - wanted).abs().max() / wanted.abs().max())


def each(clips):
    return [pytest.param(peer, size, id=f"{peer}-{size}") for peer in PEERS for size in clips(peer)]


@pytest.mark.parametrize(("peer", "size"), each(lambda peer: peer.clips))
def test_their_weights_give_their_answers(peer, size):
    assert difference(peer, size, clips=2) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize(("peer", "size"), each(lambda peer: peer.slow_clips))
def test_their_weights_give_their_answers_at_working_sizes(peer, size):
    assert difference(peer, size, clips=1) < EXACT


@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_every_convolution_of_ours_is_in_the_answer(peer):
    net, x = ours(peer), clip((4, 16, 16), clips=1)
    with torch.no_grad():
        before = net(x)
        for name, parameter in net.named_parameters():
            if parameter.dim() < 4:
                continue
            parameter.mul_(2)
            moved = float((net(x) - before).abs().max() / before.abs().max())
            parameter.div_(2)
            assert moved > 1e-4, name


@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_every_weight_of_theirs_is_somewhere_in_ours(peer):
    names = {id(tensor) for tensor in ours(peer).state_dict().values()}
    state = theirs(peer).state_dict()
    assert len(names) == len(state)
    assert sum(t.numel() for t in ours(peer).state_dict().values()) == sum(t.numel() for t in state.values())
    assert set(ours(peer).parameter_groups().values()) == {"kept"}
    assert "torchvision" in ours(peer).receipt.notes[0]


@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_other_classes_drop_exactly_their_last_layer(peer):
    with torch.device("meta"):
        net = getattr(import_torchvision().models.video, peer.name)(weights=None, num_classes=400)
        model = create_model(peer.ours, weights=net.state_dict(), classes=7, **peer.options)
    new = {name for name, group in model.parameter_groups().items() if group == "new"}
    assert len(new) == 2
    assert all(len(model.get_parameter(name)) == 7 for name in new)


@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_a_weight_that_is_missing_is_named(peer):
    state = dict(theirs(peer).state_dict())
    del state["layer3.0.conv1.1.weight" if "layer3.0.conv1.1.weight" in state else next(iter(state))]
    with torch.device("meta"), pytest.raises(UsageError, match=r"1 key.* missing"):
        create_model(peer.ours, weights=state, **peer.options)


def test_weights_of_another_arrangement_are_refused():
    with torch.device("meta"), pytest.raises(UsageError, match="does not fit"):
        create_model("mc3_18", weights=theirs(PEERS[0]).state_dict())
