"""ResNet-20 on 32 x 32 pixels (He et al. 2016, section 4.2), as mansimov_video_mnist.toml lifts it."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3 x 3 convolutions; the shortcut drops pixels and pads channels with zeros (option A)."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.more = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return functional.relu(y + functional.pad(shortcut, (0, 0, 0, 0, self.more // 2, self.more // 2)))


class ResNet20(nn.Module):
    """0.27 million parameters; frames (N, 3, 32, 32), and of other sizes, -> (N, 10)."""

    mean, std, input_size = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (3, 32, 32)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for number, (channels, out) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [Block(channels if i == 0 else out, out, 1 + (i == 0 and out > 16)) for i in range(3)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def resnet20() -> nn.Module:
    """At random; the weights come as an option: weights='cifar10_resnet20.safetensors'."""
    return ResNet20()
