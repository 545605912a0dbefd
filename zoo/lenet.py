"""LeNet: convolutions with shared weights and sub-sampling learn to read digits from pixels.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proc. of the IEEE 86(11), 1998, section II.B;
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf

Differs from the paper, as all courses do:
- S2 and S4 average without a trainable coefficient and bias;
- C3 sees all six maps of S2. The subsets of the paper's table I broke symmetry and saved
  arithmetic;
- tanh replaces the scaled 1.7159 tanh(2x/3);
- the output is a linear layer for cross-entropy, not radial basis functions;
- pixels are scaled to 0 to 1. The paper has -0.1 for the background and 1.175 for ink: pass
  mean=0.0784, std=0.7843;
- weights are initialised with Glorot's uniform distribution, not uniformly within 2.4 divided by
  the number of a unit's inputs (appendix A).
"""
import keras
from keras import layers

from zoo.blocks import ImageShape, PerChannel, head, image_input
from zoo.errors import UsageError
from zoo.registry import register

PAPER = "LeCun et al. 1998"


@register("lenet5", params=61_706)
@register("lenet5_relu", params=61_706, activation="relu")
def lenet5(input_shape: ImageShape = (32, 32, 1), classes: int = 10, *, activation: str = "tanh",
           padding: str = "valid", dropout: float = 0.0, mean: PerChannel = 0.0,
           std: PerChannel = 1.0) -> keras.Model:
    """LeNet-5 as its figure 2 draws it: C1, S2, C3, S4, C5, F6 and the output.

    See `zoo.build` for the common arguments. The features are the 84 units of F6.

    Args:
        input_shape: 32x32x1 in the paper. The kernel of C5 covers the whole map of S4, 5x5 in the
            paper.
        activation: of the units up to F6, C and S layers alike, as in the paper.
        padding: of C1. "same" gives 28x28 images the borders that the paper's 32x32 images have.
        dropout: the rate before the output; 0 in the paper.
    """
    image, x = _input(input_shape, padding, mean, std)
    x = layers.Conv2D(6, 5, padding=padding, activation=activation, name="c1")(x)
    x = _average(x, activation, name="s2")
    x = layers.Conv2D(16, 5, activation=activation, name="c3")(x)
    x = _average(x, activation, name="s4")
    x = layers.Conv2D(120, x.shape[1:3], activation=activation, name="c5")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(84, activation=activation, name="f6")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))


def _input(input_shape, padding, mean, std):
    """`image_input` with the minimum from which convolutions and poolings leave one pixel."""
    if padding == "same":
        return image_input(input_shape, minimum=12, mean=mean, std=std)
    return image_input(input_shape, minimum=16, hint="padding='same'", mean=mean, std=std)


def _average(x, activation, name):
    """Sub-sampling by 2 and an activation (section II.B); an average of relus needs no relu."""
    x = layers.AveragePooling2D(2, name=name)(x)
    if activation == "relu":
        return x
    return layers.Activation(activation, name=f"{name}_{activation}")(x)


def _conv_pool(x, filters, pool, conv_name, pool_name, padding="valid"):
    x = layers.Conv2D(filters, 5, padding=padding, name=conv_name)(x)
    if pool == "avg":
        x = layers.AveragePooling2D(2, name=pool_name)(x)
        return layers.ReLU(name=f"{pool_name}_relu")(x)
    return layers.MaxPooling2D(2, name=pool_name)(layers.ReLU(name=f"{conv_name}_relu")(x))


@register("lenet", params=44_426)
@register("lenet_cassava", params=2_365_581, input_shape=(150, 150, 3), classes=5, padding="same")
@register("lenet_keras", params=61_706, pool="max", padding="same")
def lenet(input_shape: ImageShape = (28, 28, 1), classes: int = 10, *, pool: str = "avg",
          padding: str = "valid", dropout: float = 0.0, mean: PerChannel = 0.0,
          std: PerChannel = 1.0) -> keras.Model:
    """The LeNet of today's courses: relu, and C5 as a fully connected layer.

    C5 and F6 end in relu, as the course's table has it; its PyTorch listing (document 000) has no
    activation between the linear layers. Weights are initialised with Keras's defaults, not
    PyTorch's.

    See `zoo.build` for the common arguments. The features are the 84 units of F6.

    Args:
        pool: "avg", followed by relu, or "max", preceded by relu.
        padding: of the first convolution, "valid" or "same".
        dropout: the rate before the output.
    """
    if pool not in ("avg", "max"):
        raise UsageError(f"pool must be 'avg' or 'max'. Received: {pool!r}.")
    image, x = _input(input_shape, padding, mean, std)
    x = _conv_pool(x, 6, pool, "c1", "s2", padding=padding)
    x = _conv_pool(x, 16, pool, "c3", "s4")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation="relu", name="c5")(x)
    x = layers.Dense(84, activation="relu", name="f6")(x)
    return keras.Model(image, head(x, classes, dropout=dropout))
