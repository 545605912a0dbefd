"""Which numbers a network is trained in: float32, or half precision where the machine is made for it."""
import tensorflow as tf

from zoo.errors import unknown

POLICIES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
_AMPERE = (8, 0)  # the first NVIDIA compute capability with bfloat16 matrix units


def resolve(precision):
    """Return the Keras dtype policy that `precision` means on this machine.

    "auto" is bfloat16 on a TPU and on NVIDIA GPUs from Ampere on, float16 with loss scaling on older ones, and float32 on
    CPUs, which have no units for less. Weights, logits, loss and exports are float32 under every policy.

    Raises:
        zoo.errors.UsageError: for any other name; pure half precision does not train.
    """
    if precision not in POLICIES:
        raise unknown("precision", precision, POLICIES)
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("TPU"):
        return "mixed_bfloat16"
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    if not gpus:
        return "float32"
    return "mixed_bfloat16" if min(capabilities) >= _AMPERE else "mixed_float16"
