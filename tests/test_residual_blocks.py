"""What the blocks of ResNet, DenseNet and MobileNet v2 compute."""
import functools

import keras
import numpy as np
import pytest

import zoo
from zoo.densenet import dense_layer
from zoo.mobilenet_v2 import inverted_residual
from zoo.resnet import conv_bn, identity_block, projection_block
from zoo.resnet_cifar import padded_shortcut


def run(block, x, seed=0, **changes):
    """Apply `block` to an array.

    `changes` replaces the weights whose path ends with a key by a function of their shape.
    """
    keras.utils.set_random_seed(seed)
    source = keras.Input(x.shape[1:])
    model = keras.Model(source, block(source))
    for weight in model.weights:
        for end, value in changes.items():
            if weight.path.endswith(f"{end.replace('__', '/')}"):
                weight.assign(value(weight.shape))
    return keras.ops.convert_to_numpy(model(x))


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_an_identity_block_whose_residual_is_nil_is_relu():
    x = noise(2, 4, 4, 8)
    y = run(lambda t: identity_block(t, 2, name="b"), x, b_c_bn__gamma=np.zeros)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_an_identity_block_refuses_other_channels():
    with pytest.raises(zoo.errors.UsageError, match="takes 8 channels. Received: 6"):
        identity_block(keras.Input((4, 4, 6)), 2, name="b")


@pytest.mark.parametrize("block, channels", [("basic", 6), ("bottleneck", 24)])
def test_a_projection_block_halves_any_map(block, channels):
    y = projection_block(keras.Input((5, 8, 3)), 6, block=block, name="b")
    assert y.shape == (None, 3, 4, channels)


def test_a_strided_kernel_stands_over_the_pixels_that_the_shortcut_takes():
    def centre(shape):
        kernel = np.zeros(shape)
        kernel[1, 1, 0, 0] = 1
        return kernel
    x = noise(1, 8, 8, 1)
    y = run(lambda t: conv_bn(t, 1, 3, 2, relu=False, name="c"), x, kernel=centre)
    np.testing.assert_allclose(y, run(lambda t: padded_shortcut(t, 1, 2, name="s"), x), rtol=1e-4)


def test_a_padded_shortcut_subsamples_and_adds_channels_of_zeros():
    x = noise(2, 5, 6, 3)
    y = run(lambda t: padded_shortcut(t, 7, 2, name="s"), x)
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    assert y.shape == (2, 3, 3, 7) and not y[..., 3:].any()


def test_a_dense_layer_hands_on_what_it_saw():
    x = noise(2, 4, 4, 6)
    y = run(lambda t: dense_layer(t, 5, name="d"), x)
    assert y.shape == (2, 4, 4, 11)
    np.testing.assert_array_equal(y[..., :6], x)


def test_an_inverted_residual_adds_only_what_has_its_shape():
    x = noise(1, 4, 4, 8)
    same = run(lambda t: inverted_residual(t, 6, 8, 1, name="b"), x, b_project_bn__gamma=np.zeros)
    np.testing.assert_array_equal(same, x)
    for filters, stride in ((8, 2), (16, 1)):
        block = functools.partial(inverted_residual, expansion=6, filters=filters, stride=stride,
                                  name="b")
        assert not run(block, x, b_project_bn__gamma=np.zeros).any()
