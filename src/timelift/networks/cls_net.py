"""CLS_net_20140801232522: Toronto's ImageNet network, which Mansimov et al. 2015 lift into time.

Convolution, ReLU, pool, then the response norm; 1x1 convolutions between; two fully connected layers of 4096.
"""

from collections import OrderedDict

import torch
from torch import nn

from timelift.networks.flat import Flat, side_behind
from timelift.records.errors import UsageError

_STRIDING = ((7, 2, 2), (3, 2, 2), (5, 2, 2), (3, 2, 2), (3, 1, 0), (3, 2, 2))  # what changes the map's size
_BIAS_ONE = ("hidden2_conv", "hidden4_conv", "hidden5_conv")


def cls_net(
    classes: int = 1000, in_channels: int = 3, size: int = 224, hidden7: int = 4096, dropout: float = 0.5
) -> nn.Sequential:
    """Frames (N, in_channels, size, size) -> (N, classes), random; 104,321,000 parameters at the defaults.

    Raises:
        UsageError: for frames of fewer than 45 pixels, of which hidden5 leaves nothing.
    """
    side = side_behind(size, _STRIDING)
    if side < 1:
        raise UsageError(
            f"cls_net: size={size}; its convolutions and pools take frames of at least 45 pixels"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()

    def convolve(name: str, inp: int, out: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        layers[name] = nn.Conv2d(inp, out, kernel, stride, padding)
        layers[f"{name}_relu"] = nn.ReLU()

    convolve("hidden1_conv", in_channels, 96, 7, stride=2, padding=1)
    layers["hidden1_maxpool"] = nn.MaxPool2d(3, 2, 1)
    layers["hidden1_rnorm"] = response_norm(96)
    convolve("hidden2_conv", 96, 256, 5, stride=2, padding=1)
    convolve("hidden2_conv_nin1", 256, 256, 1)
    layers["hidden2_maxpool"] = nn.MaxPool2d(3, 2, 1)
    layers["hidden2_rnorm"] = response_norm(256)
    convolve("hidden3_conv", 256, 384, 3, padding=1)
    convolve("hidden3_conv_nin1", 384, 768, 1)
    convolve("hidden4_conv", 768, 384, 3, padding=1)
    convolve("hidden4_conv_nin1", 384, 768, 1)
    layers["hidden4_dropout"] = nn.Dropout(0.1)
    convolve("hidden4_conv_nin2", 768, 384, 1)
    convolve("hidden5_conv", 384, 512, 3)
    convolve("hidden5_conv_nin1", 512, 1024, 1)
    layers["hidden5_dropout"] = nn.Dropout(0.3)
    convolve("hidden5_conv_nin2", 1024, 512, 1)
    layers["hidden5_maxpool"] = nn.MaxPool2d(3, 2, 1)
    layers["flat"] = Flat(side)
    for name, inp, out in (("hidden6", 512 * side**2, 4096), ("hidden7", 4096, hidden7)):
        layers[name] = nn.Linear(inp, out)
        layers[f"{name}_relu"] = nn.ReLU()
        layers[f"{name}_dropout"] = nn.Dropout(dropout)
    layers["output"] = nn.Linear(hidden7, classes)
    return _started(nn.Sequential(layers))


def response_norm(maps: int) -> nn.LocalResponseNorm:
    """x / (1 + 0.0005 * sum of squares)^0.75 over a window of a quarter of the maps.

    PyTorch divides its alpha by the window's length and Toronto's code does not divide its add_scale: so
    alpha = 0.0005 * window. Both windows reach window / 2 maps down and window / 2 - 1 up.
    """
    window = maps // 4
    return nn.LocalResponseNorm(window, alpha=5e-4 * window, beta=0.75, k=1.0)


@torch.no_grad()
def _started(net: nn.Sequential) -> nn.Sequential:
    """The published start: weights uniform within 1 / sqrt(fan in), as PyTorch's; biases 0 or 1."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter.fill_(float(name.split(".")[0] in _BIAS_ONE))
    net.output.weight.mul_(0.1)  # type: ignore[operator, union-attr]
    return net
