"""Knowledge distillation: a network learns from the labels and from a trained one, its teacher."""
import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from zoo.errors import UserError
from zoo.training import trained
from zoo.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained network whose classes have the order of another data set.

    Attributes:
        model: from images to logits; it is not trained.
        order: for each class of the data set, its place in the teacher's logits.
    """

    model: keras.Model
    order: Sequence[int]

    def logits(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return the logits of images of shape (n, height, width, channels): (n, classes)."""
        return ops.take(self.model(images, training=False), self.order, axis=-1)


def teacher_of(recipe: Recipe, class_names: Sequence[str], input_shape: Sequence[int]) -> Teacher:
    """Load the teacher that `recipe` names, a run or a trained network of the zoo.

    Args:
        recipe: the student's; it has a teacher.
        class_names: of the student's data set, in the order of its labels.
        input_shape: of the student: height, width and channels.

    Raises:
        zoo.errors.UserError: if it cannot be loaded, or has other classes or another input.
    """
    source = trained.load(recipe.teacher)
    if set(source.class_names) != set(class_names):
        raise UserError(f"The teacher {recipe.teacher} must have the classes of {recipe.data}, "
                        f"{trained.shortened(class_names)}. "
                        f"Received: {trained.shortened(source.class_names)}.")
    size = source.model.input.shape[1:]
    if tuple(size) != tuple(input_shape):
        raise UserError(f"The teacher {recipe.teacher} must take images of "
                        f"{'x'.join(map(str, input_shape))}, as {recipe.model} does here. "
                        f"Received: {'x'.join(map(str, size))}.")
    return Teacher(source.model, [source.class_names.index(name) for name in class_names])


def distil(model: keras.Model, teacher: Teacher, recipe: Recipe) -> None:
    """Make `model`, which is compiled, learn from `teacher` too (Hinton et al. 2015, section 2).

    The loss of a training step becomes (1 - w) L + w T^2 D. L is the loss for the labels, D the
    cross-entropy between the teacher's probabilities and the model's, both of logits divided by the
    temperature T; T^2 keeps the size of its gradients. w is `recipe.teacher_weight`. Both networks
    see the same augmented images. The loss of validation stays L. Auxiliary heads learn from the
    labels alone.
    """
    of_labels, soft = model.compute_loss, keras.losses.CategoricalCrossentropy(from_logits=True)
    weight, temperature = recipe.teacher_weight, recipe.temperature

    def compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = of_labels(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        logits = y_pred["logits"] if isinstance(y_pred, dict) else y_pred
        targets = ops.softmax(teacher.logits(x) / temperature)
        return (1 - weight) * loss + weight * temperature**2 * soft(
            targets, logits / temperature, sample_weight)
    model.compute_loss = compute_loss
