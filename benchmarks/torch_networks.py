"""Five of the zoo's networks in PyTorch: channels first, from pixels in [0, 255] to logits.

The layers stand in the order of the zoo's builders and have the same sizes, so that weights can be
copied from one to the other (tests/test_benchmarks.py does, and compares what comes out).
"""

import torch
from torch import nn

EPSILON, MOMENTUM = (
    1.001e-5,
    0.01,
)  # of the zoo's batch normalisations; PyTorch's momentum is one minus Keras's


class Rescale(nn.Module):
    """Pixels to [0, 1]."""

    def forward(self, x):
        return x / 255


class Module(nn.Module):
    """An Inception module: the branches side by side."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Block(nn.Module):
    """A block of a ResNet for CIFAR, its shortcut without weights."""

    def __init__(self, before, filters, stride):
        super().__init__()
        self.stride, self.extra = stride, filters - before
        self.residual = nn.Sequential(
            *_conv_bn(before, filters, stride), nn.ReLU(), *_conv_bn(filters, filters, 1)
        )

    def forward(self, x):
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.extra:
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        return torch.relu(shortcut + self.residual(x))


def _conv_bn(before, filters, stride):
    return nn.Conv2d(before, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(
        filters, EPSILON, MOMENTUM
    )


def simple_cnn():
    """The course's simple CNN."""
    return nn.Sequential(
        Rescale(),
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(320, 10),
    )


def lenet5():
    """LeNet-5 from 32x32 pixels."""
    return nn.Sequential(
        Rescale(),
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Tanh(),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Tanh(),
        nn.Conv2d(16, 120, 5),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def small_inception():
    """The course's net with two Inception modules."""

    def module(before):
        return Module(
            nn.Conv2d(before, 16, 1),
            nn.Sequential(nn.Conv2d(before, 16, 1), nn.Conv2d(16, 24, 5, padding=2)),
            nn.Sequential(
                nn.Conv2d(before, 16, 1),
                nn.Conv2d(16, 24, 3, padding=1),
                nn.Conv2d(24, 24, 3, padding=1),
            ),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(before, 24, 1)),
        )

    return nn.Sequential(
        Rescale(),
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        module(10),
        nn.Conv2d(88, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        module(20),
        nn.Flatten(),
        nn.Linear(1408, 10),
    )


def resnet20():
    """ResNet of 20 layers for CIFAR."""
    widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
    blocks = [
        Block(before, after, 1 if before == after else 2)
        for before, after in zip(widths, widths[1:])
    ]
    return nn.Sequential(
        Rescale(),
        *_conv_bn(3, 16, 1),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def vgg16():
    """VGG, configuration D."""
    layers, before = [Rescale()], 3
    for filters, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
            before = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(25088, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 1000),
    )


def weights(net):
    """How many numbers `net` has learnt or counted, as Keras's `count_params` tells them."""
    counts = [
        tensor.numel()
        for name, tensor in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    ]
    return sum(counts)
