"""Accuracy that also counts a confusion matrix, for that of the validation split at each epoch."""
import keras
import numpy as np
import tensorflow as tf
from keras import ops

from zoo.training.figures import MATRIX_CLASSES


class CountingAccuracy(keras.metrics.CategoricalAccuracy):
    """Keras's accuracy for one-hot labels; up to 20 classes it counts a confusion matrix as well.

    The matrix equals scikit-learn's `confusion_matrix`.

    Args:
        classes: the number of classes.
    """

    def __init__(self, classes: int):
        super().__init__(name="accuracy")
        self.counts = None
        if classes <= MATRIX_CLASSES:  # beyond, a page shows no numbers
            self.counts = self.add_variable((classes, classes), "zeros", name="confusion")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor,
                     sample_weight: tf.Tensor | None = None) -> None:
        """Count a batch: `y_true` one-hot or mixed labels, `y_pred` logits, (batch, classes)."""
        super().update_state(y_true, y_pred, sample_weight)
        if self.counts is not None:
            true, predicted = (ops.one_hot(ops.argmax(each, axis=-1), y_pred.shape[-1],
                                           dtype="float32") for each in (y_true, y_pred))
            self.counts.assign_add(ops.matmul(ops.transpose(true), predicted))

    def reset_state(self) -> None:
        super().reset_state()
        if self.counts is not None:
            self.counts.assign(ops.zeros_like(self.counts))


def counted_matrix(model: keras.Model) -> list[list[int]] | None:
    """Return the matrix that a compiled model has counted since its metrics were last reset.

    Returns:
        Rows are true classes, columns predicted ones; None if there are too many classes.
    """
    for variable in model.metrics_variables:
        if variable.path.endswith("/confusion"):
            return np.rint(ops.convert_to_numpy(variable)).astype(int).tolist()
    return None
