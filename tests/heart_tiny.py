"""Tiny image networks for the tests of the heart, each with one thing that is easy to get wrong."""

import torch
from torch import nn


class Tiny(nn.Module):
    """Two stages with a shortcut, a shared ReLU, a pool and a head: 9 layers with maps."""

    def __init__(self, classes=5, channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.pool1 = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Block(8, 8, 1)
        self.layer2 = Block(8, 12, 2)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(12, classes)

    def forward(self, x):
        x = self.pool1(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class Block(nn.Module):
    """A basic residual block; its ReLU runs twice."""

    def __init__(self, inp, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inp, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inp, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Backwards(nn.Module):
    """Registered in the opposite order of its run, with a gate and a 1x1 convolution as head."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(6, 4, 1)
        self.gate = SEModule(6)
        self.late = nn.Conv2d(6, 6, 3, padding=1)
        self.point = nn.Conv2d(6, 6, 1)
        self.early = nn.Conv2d(3, 6, 5, stride=2, padding=2)

    def forward(self, x):
        x = self.late(self.point(self.early(x)))
        return self.head(self.gate(x)).mean((2, 3))


class SEModule(nn.Module):
    """A squeeze-excitation gate with a spatial kernel: gates are left alone whatever they hold."""

    def __init__(self, channels):
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x * self.fc(x.mean((2, 3), keepdim=True)).sigmoid()


def clip(length=6, clips=2, channels=3, side=32, seed=0):
    """(clips, channels, length, side, side) of normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips, channels, length, side, side, generator=generator)


def frames(n=2, side=32, seed=1):
    """(n, 3, side, side) of normal numbers."""
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def seeded(build, seed=0):
    """What `build` gives from a fixed random start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
