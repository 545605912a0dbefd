"""The small convolutional networks that courses begin with, before those of the papers.

- `simple_cnn`: S. Kim, "ML/DL for Everyone with PyTorch, Lecture 10: CNN";
  https://github.com/hunkim/PyTorchZeroToAll
- `conv_only`: Q.-V. Dinh, "Convolutional Neural Network": convolutions without any down-sampling.
- `fashion_cnn`: J. Tan Chong Min, "Convolutional Neural Networks (CNN)".

Differs from the courses: Keras's initialisation, Glorot uniform with zero biases, replaces
PyTorch's in the first two.
"""
from collections.abc import Sequence

import keras
from keras import layers

from zoo.blocks import ImageShape, PerChannel, check_positive, head, image_input
from zoo.registry import register

PAPER = "courses of Kim, Dinh, Tan"


@register("simple_cnn", params=8_490)
def simple_cnn(input_shape: ImageShape = (28, 28, 1), classes: int = 10, *,
               filters: Sequence[int] = (10, 20), dropout: float = 0.0, mean: PerChannel = 0.0,
               std: PerChannel = 1.0) -> keras.Model:
    """Kim's simple CNN: 5x5 convolutions, each halved by max pooling and then rectified.

    See `zoo.build` for the common arguments. The features are the flattened maps.

    Args:
        input_shape: 28x28x1 in the course.
        filters: of each convolution.
        dropout: the rate before the output; 0 in the course.
    """
    check_positive(filters=filters)
    image, x = image_input(input_shape, minimum=5 * 2 ** len(filters) - 4, hint="fewer filters",
                           mean=mean, std=std)
    for number, maps in enumerate(filters, start=1):
        x = layers.Conv2D(maps, 5, name=f"stage{number}_conv")(x)
        x = layers.MaxPooling2D(2, name=f"stage{number}_pool")(x)
        x = layers.ReLU(name=f"stage{number}_relu")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))


@register("conv_only", params=2_150_410)
@register("conv_only_128", params=2_635_146, units=128)
@register("conv_only_128_cifar", params=4_211_146, input_shape=(32, 32, 3), units=128)
def conv_only(input_shape: ImageShape = (28, 28, 1), classes: int = 10, *,
              filters: Sequence[int] = (32, 64, 128, 256), kernel: int = 7, units: int = 0,
              dropout: float = 0.0, mean: PerChannel = 0.5, std: PerChannel = 0.5) -> keras.Model:
    """Dinh's convolutions without pooling: unpadded kernels alone shrink the map from 28x28 to 4x4.

    See `zoo.build` for the common arguments. The features are the inputs of the output layer.

    Args:
        input_shape: 28x28x1 or 32x32x3 in the course.
        filters: of each convolution.
        kernel: height and width of all kernels; each convolution takes kernel - 1 off the map.
        units: of a fully connected layer before the output; 0 leaves it out.
        dropout: the rate before the output; 0 in the course.
        mean, std: the course's 0.5 map the pixels to [-1, 1].
    """
    check_positive(filters=filters, kernel=kernel)
    image, x = image_input(input_shape, minimum=1 + len(filters) * (kernel - 1),
                           hint="a smaller kernel", mean=mean, std=std)
    for number, maps in enumerate(filters, start=1):
        x = layers.Conv2D(maps, kernel, activation="relu", name=f"stage{number}_conv")(x)
    x = layers.Flatten(name="flatten")(x)
    if units:
        x = layers.Dense(units, activation="relu", name="fc1")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))


@register("fashion_cnn", params=402_986)
def fashion_cnn(input_shape: ImageShape = (28, 28, 1), classes: int = 10, *, filters: int = 16,
                units: int = 128, dropout: float = 0.0, mean: PerChannel = 0.0,
                std: PerChannel = 1.0) -> keras.Model:
    """Tan's first CNN for Fashion-MNIST: one 3x3 convolution, max pooling, one hidden layer.

    See `zoo.build` for the common arguments. The features are the hidden layer.

    Args:
        input_shape: 28x28x1 in the course.
        filters: of the convolution.
        units: of the hidden layer.
        dropout: the rate before the output; 0 in the course.
    """
    check_positive(filters=filters, units=units)
    image, x = image_input(input_shape, minimum=2, mean=mean, std=std)
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", name="stage1_conv")(x)
    x = layers.MaxPooling2D(2, name="stage1_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="relu", name="fc1")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
