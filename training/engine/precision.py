"""The numeric precision of a training: float32, or mixed precision on GPUs and TPUs."""
import tensorflow as tf

from zoo.errors import unknown
from zoo.training.recipe import PRECISIONS

_AMPERE = (8, 0)  # the first NVIDIA compute capability with bfloat16 tensor cores


def resolve(precision: str) -> str:
    """Return the Keras dtype policy for `precision` on this machine.

    "auto" is mixed_bfloat16 on TPUs and on NVIDIA GPUs from Ampere on, mixed_float16 with loss
    scaling on older GPUs, and float32 on CPUs. Weights, logits, loss and exports are float32 under
    every policy.

    Raises:
        zoo.errors.UsageError: for any other name; networks do not train in pure half precision.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("TPU"):
        return "mixed_bfloat16"
    gpus = [tf.config.experimental.get_device_details(gpu)
            for gpu in tf.config.list_physical_devices("GPU")]
    if not gpus:
        return "float32"
    lowest = min(gpu.get("compute_capability", (0, 0)) for gpu in gpus)
    return "mixed_bfloat16" if lowest >= _AMPERE else "mixed_float16"
