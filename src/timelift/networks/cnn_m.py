"""CNN-M-2048 of Chatfield et al. 2014: the network of Simonyan and Zisserman 2014's two streams."""

from collections import OrderedDict

from torch import nn

from timelift.networks.flat import Flat, side_behind
from timelift.records.errors import UsageError

_STRIDING = ((7, 2, 0), (3, 2, 1), (5, 2, 2), (3, 2, 1), (3, 2, 1))  # what changes the map's size


def cnn_m_2048(
    classes: int = 1000, in_channels: int = 3, size: int = 224, dropout: float = 0.5
) -> nn.Sequential:
    """Frames (N, in_channels, size, size) -> (N, classes), random.

    As released for Caffe: conv1 is not padded, conv2 is by one pixel, and the 3x3 pools round up, so that at
    224 pixels fc6 sees 512 maps of 6 x 6.

    Raises:
        UsageError: for frames of fewer than 41 pixels, of which the pools leave nothing.
    """
    side = side_behind(size, _STRIDING)
    if side < 1:
        raise UsageError(
            f"cnn_m_2048: size={size}; its convolutions and pools take frames of at least 41 pixels"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, 96, 7, stride=2),
        relu1=nn.ReLU(),
        norm1=_response_norm(),
        pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
        conv2=nn.Conv2d(96, 256, 5, stride=2, padding=1),
        relu2=nn.ReLU(),
        norm2=_response_norm(),
        pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
        conv3=nn.Conv2d(256, 512, 3, padding=1),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(512, 512, 3, padding=1),
        relu4=nn.ReLU(),
        conv5=nn.Conv2d(512, 512, 3, padding=1),
        relu5=nn.ReLU(),
        pool5=nn.MaxPool2d(3, 2, ceil_mode=True),
        flat=Flat(side),
        fc6=nn.Linear(512 * side**2, 4096),
        relu6=nn.ReLU(),
        dropout6=nn.Dropout(dropout),
        fc7=nn.Linear(4096, 2048),
        relu7=nn.ReLU(),
        dropout7=nn.Dropout(dropout),
        fc8=nn.Linear(2048, classes),
    )
    return nn.Sequential(layers)


def _response_norm() -> nn.LocalResponseNorm:
    """Over 5 maps, with the constants of Krizhevsky et al. 2012; Caffe and PyTorch both divide alpha by 5."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
