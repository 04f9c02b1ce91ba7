"""The recipe's dropout reaches every dropout of a network, also those that are no layers."""

import torch
from torch import Tensor, nn

from timelift.networks.images import image_network
from timelift.training.dropout import set_dropout


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop_rate = 0.0
        self.layer = nn.Sequential(nn.Linear(50, 50), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(torch.ones_like(x), self.drop_rate, self.training)


def test_layers_and_rates_are_set(generator):
    net = Functional().train()
    assert set_dropout(net, 0.5) == 2
    assert net.layer[1].p == 0.5
    dropped = net(torch.randn(40, 50, generator=generator)) == 0
    assert 0.3 < dropped.float().mean() < 0.7


def test_a_timm_head_without_a_dropout_layer_drops():
    net = image_network("timm:test_efficientnet", classes=3, weights=None).train()
    assert set_dropout(net, 0.9) >= 1
    assert net.drop_rate == 0.9
