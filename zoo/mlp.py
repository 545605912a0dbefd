"""Multi-layer perceptrons: every pixel connects to every hidden unit; the baseline of convolutions.

D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning representations by back-propagating
errors", Nature 323, 1986; https://doi.org/10.1038/323533a0. The configurations are those of
Q.-V. Dinh's course "Convolutional Neural Network".

Differs from the paper, as the course does:
- the output is linear for cross-entropy, not sigmoid units for squared error;
- Glorot's and He's initialisation, and relu, date from 2010 and later.
"""
from collections.abc import Sequence

import keras
from keras import layers

from zoo.blocks import ImageShape, PerChannel, check_positive, head, image_input
from zoo.registry import register

PAPER = "Rumelhart et al. 1986"


@register("mlp", params=203_530)
@register("mlp_fashion_sigmoid", params=203_530, activation="sigmoid",
          initializer="glorot_uniform")
@register("mlp_fashion", params=203_530)
@register("mlp_fashion_2", params=269_322, hidden=(256, 256))
@register("mlp_cifar", params=789_258, input_shape=(32, 32, 3))
@register("mlp_cifar_2", params=855_050, input_shape=(32, 32, 3), hidden=(256, 256))
@register("mlp_cifar_3", params=920_842, input_shape=(32, 32, 3), hidden=(256, 256, 256))
def mlp(input_shape: ImageShape = (28, 28, 1), classes: int = 10, *,
        hidden: Sequence[int] = (256,), activation: str = "relu",
        initializer: str = "he_uniform", dropout: float = 0.0, mean: PerChannel = 0.5,
        std: PerChannel = 0.5) -> keras.Model:
    """A multi-layer perceptron on the pixels of an image.

    See `zoo.build` for the common arguments. The features are the last hidden layer.

    Args:
        input_shape: of any size.
        hidden: the units of each hidden layer, the first one next to the pixels; an empty tuple
            gives logistic regression.
        activation: of the hidden units.
        initializer: of all weights, the output's too; biases start at 0.
        dropout: the rate before the output; 0 in the course.
        mean, std: the course's 0.5 map the pixels to [-1, 1].
    """
    check_positive(hidden=hidden or 1)
    image, x = image_input(input_shape, mean=mean, std=std)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(hidden, start=1):
        x = layers.Dense(units, activation=activation, kernel_initializer=initializer,
                         name=f"fc{number}")(x)
    return keras.Model(image, head(x, classes, dropout=dropout, kernel_initializer=initializer))
