"""The PyTorch networks of benchmarks/ are the zoo's: the same parameters and the same outputs."""

import sys

import keras
import numpy as np
import pytest

import zoo
from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # needs PyTorch, which `make slow` installs


@pytest.fixture(scope="module")
def torch_networks():
    """benchmarks/torch_networks.py, which no package holds."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import torch_networks

        yield torch_networks
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def copy_weights(model, net):
    """Copy the Keras model's weights into the PyTorch network, in the builder's order."""
    import torch

    layers = sorted(model.layers, key=lambda layer: (not layer.name.startswith("stem"), layer.name))
    pairs = {
        keras.layers.Conv2D: torch.nn.Conv2d,
        keras.layers.Dense: torch.nn.Linear,
        keras.layers.BatchNormalization: torch.nn.BatchNorm2d,
    }
    channels = None  # of the map that is flattened: PyTorch's has them first
    for ours, theirs in pairs.items():
        sources = [layer for layer in layers if isinstance(layer, ours)]
        targets = [module for module in net.modules() if isinstance(module, theirs)]
        for source, target in zip(sources, targets, strict=True):
            values = [np.array(weight) for weight in source.weights]
            if ours is keras.layers.Conv2D:
                values[0] = values[0].transpose(3, 2, 0, 1)
            elif ours is keras.layers.Dense:
                if channels is None:
                    *_, height, width, channels = (
                        model.get_layer("flatten").input.shape
                        if "flatten" in {layer.name for layer in layers}
                        else (1, 1, len(values[0]))
                    )
                    values[0] = (
                        values[0]
                        .reshape(height, width, channels, -1)
                        .transpose(2, 0, 1, 3)
                        .reshape(values[0].shape)
                    )
                values[0] = values[0].T
            names = ("weight", "bias", "running_mean", "running_var")
            for name, value in zip(names, values):
                getattr(target, name).data.copy_(torch.from_numpy(np.ascontiguousarray(value)))


@pytest.mark.parametrize(
    "network", ["simple_cnn", "lenet5", "small_inception", "resnet20", "vgg16"]
)
def test_twin_has_as_many_weights(torch_networks, network):
    import torch

    with torch.device("meta"):  # no memory for VGG-16's 138 million
        net = getattr(torch_networks, network)()
    assert torch_networks.weights(net) == zoo.spec(network).params


@pytest.mark.parametrize("network", ["simple_cnn", "lenet5", "small_inception", "resnet20"])
def test_twin_answers_alike(torch_networks, network):
    """Statistics of batch normalisation and biases are random, so that each has an effect."""
    import torch

    model, net, rng = (
        zoo.build(network),
        getattr(torch_networks, network)().eval(),
        np.random.default_rng(0),
    )
    model.set_weights(
        [rng.uniform(0.1, 0.3, w.shape) if w.ndim == 1 else w for w in model.get_weights()]
    )
    copy_weights(model, net)
    images = rng.integers(0, 256, (3, *model.input.shape[1:])).astype("float32")
    with torch.no_grad():
        theirs = net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(
        theirs, keras.ops.convert_to_numpy(model(images, training=False)), rtol=1e-4, atol=1e-4
    )
