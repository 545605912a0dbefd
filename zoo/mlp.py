"""Multi-layer perceptrons: every pixel to every hidden unit, the measure that convolutions have to beat.

D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning representations by back-propagating errors", Nature 323, 1986;
https://doi.org/10.1038/323533a0. The configurations are those of Q.-V. Dinh's course "Convolutional Neural Network".

Differs from the paper, as the course does:
- the output is linear for cross-entropy, not sigmoid units for squared error;
- Glorot's and He's initialisation, and relu, came in 2010 and after.
"""
import keras
from keras import layers

from zoo.blocks import classifier, image_input, positive
from zoo.registry import register

PAPER = "Rumelhart et al. 1986"


@register("mlp", params=203_530)
@register("mlp_fashion_sigmoid", params=203_530, activation="sigmoid", initializer="glorot_uniform")
@register("mlp_fashion", params=203_530)
@register("mlp_fashion_2", params=269_322, hidden=(256, 256))
@register("mlp_cifar", params=789_258, input_shape=(32, 32, 3))
@register("mlp_cifar_2", params=855_050, input_shape=(32, 32, 3), hidden=(256, 256))
@register("mlp_cifar_3", params=920_842, input_shape=(32, 32, 3), hidden=(256, 256, 256))
def mlp(input_shape=(28, 28, 1), classes=10, *, hidden=(256,), activation="relu", initializer="he_uniform", dropout=0.0,
        mean=0.5, std=0.5):
    """A multi-layer perceptron on the pixels of an image.

    Args:
        input_shape: (height, width, channels) of images in [0, 255], of any size.
        classes: the number of logits; 0 gives the last hidden layer.
        hidden: the units of each hidden layer, from the pixels on; none leave logistic regression.
        activation: of the hidden units.
        initializer: of all weights, the output's too; biases start at 0.
        dropout: the rate before the output, 0 to 1; 0 in the course.
        mean, std: of the pixels on a scale of 0 to 1, a number or one per channel; the course's 0.5 map them to [-1, 1].

    Returns:
        A `keras.Model` to float32 logits of shape (batch, classes).

    Raises:
        zoo.errors.UsageError: if `input_shape` is no image shape, or `hidden` no positive integers.
    """
    positive(hidden=hidden or 1)
    image, x = image_input(input_shape, mean=mean, std=std)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(hidden, start=1):
        x = layers.Dense(units, activation=activation, kernel_initializer=initializer, name=f"fc{number}")(x)
    return keras.Model(image, classifier(x, classes, dropout=dropout, kernel_initializer=initializer))
