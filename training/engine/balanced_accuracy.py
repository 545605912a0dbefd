"""Balanced accuracy, which selects the best epoch of a training with balanced classes."""
import keras
import tensorflow as tf
from keras import ops


class BalancedAccuracy(keras.metrics.Metric):
    """The mean recall over the classes that have examples.

    It equals scikit-learn's `balanced_accuracy_score`.

    Args:
        classes: the number of classes.
    """

    def __init__(self, classes: int):
        super().__init__(name="balanced_accuracy")
        self.correct = self.add_variable((classes,), "zeros", name="correct")
        self.examples = self.add_variable((classes,), "zeros", name="examples")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor,
                     sample_weight: tf.Tensor | None = None) -> None:
        """Count a batch: `y_true` one-hot or mixed labels, `y_pred` logits, (batch, classes)."""
        labels = ops.argmax(y_true, axis=-1)
        examples = ops.one_hot(labels, y_pred.shape[-1])
        hits = ops.cast(labels == ops.argmax(y_pred, axis=-1), "float32")
        self.examples.assign_add(ops.sum(examples, axis=0))
        self.correct.assign_add(ops.sum(examples * hits[:, None], axis=0))

    def result(self) -> tf.Tensor:
        """Return the balanced accuracy of all batches since the last reset, from 0 to 1."""
        recalls = self.correct / ops.maximum(self.examples, 1)
        return ops.sum(recalls) / ops.maximum(ops.sum(ops.cast(self.examples > 0, "float32")), 1)
