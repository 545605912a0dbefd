"""Batch normalisation as one operation of TensorFlow's while it trains.

Keras 3 writes it as nine operations that each read or write the whole map, forward and backward: a quarter of the time that a
step of ResNet-20 takes on a CPU.
"""
import keras
import tensorflow as tf


class Fused(keras.layers.BatchNormalization):
    """Keras's layer, computed by `FusedBatchNormV3` where that can; the numbers are the same."""

    def call(self, inputs, training=None, mask=None):
        fusible = len(inputs.shape) == 4 and self.axis in (-1, 3) and self.scale and self.center and not self.renorm
        if not (fusible and training and self.trainable) or self.synchronized or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        nothing = tf.zeros([0])
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, tf.float32), scale=self.gamma, offset=self.beta, mean=nothing, variance=nothing,
            epsilon=self.epsilon, is_training=True)
        seen = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance *= (seen - 1) / seen  # it comes as an estimate for all images; Keras keeps the batch's own
        for kept, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            kept.assign(kept * self.momentum + found * (1.0 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)


def fuse(model):
    """Let the batch normalisations of `model`, which is to be trained and not saved, be computed by `Fused`."""
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization:
            layer.__class__ = Fused  # the same layer with the same weights: a clone would be another model
