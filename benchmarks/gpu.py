"""Images and operations a second on a GPU, in float32 and in mixed precision, by Keras on JAX.

`KERAS_BACKEND=jax python benchmarks/gpu.py` needs a GPU, JAX for it, Keras, NumPy and the package
zoo, no TensorFlow. It trains resnet20 and resnet50 by `fit` on random pixels that lie in the GPU's
memory; the precisions take turns. float32 is what JAX makes of it by default, which on recent GPUs
is TensorFloat-32. An operation is a multiplication or an addition of a convolution or matrix
product; the backward pass is counted as two forward ones. Results go to benchmarks/gpu.json.
"""

import json
import os
import sys
import time
from pathlib import Path
from statistics import quantiles

HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))
NETWORKS = {"resnet20": (2048, 60), "resnet50": (256, 30)}  # the batch, and the steps in a round
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
ROUNDS = 7


def gpu():
    """Return JAX's first GPU, or leave with a line."""
    if os.environ.setdefault("KERAS_BACKEND", "jax") != "jax":
        sys.exit(
            f"This measures Keras on JAX. Received: KERAS_BACKEND={os.environ['KERAS_BACKEND']}."
        )
    try:
        import jax

        return jax.devices("gpu")[0]
    except (ImportError, RuntimeError) as error:
        sys.exit(f"This needs JAX with a GPU: {str(error).splitlines()[0]}.")


def trainer(network, policy, batch, steps):
    """Return a function that trains a round and returns a step's seconds; an image's operations."""
    import jax
    import keras
    import numpy as np

    import zoo
    from zoo.tables import total_multiply_adds

    keras.config.set_dtype_policy(policy)
    model, rng = zoo.build(network), np.random.default_rng(0)
    model.dtype_policy = keras.DTypePolicy(policy)  # what tells compile to scale the loss
    model.compile(
        keras.optimizers.SGD(1e-4, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = jax.device_put(rng.integers(0, 256, (batch, *model.input.shape[1:]), "uint8"))
    labels = jax.device_put(rng.integers(0, model.output.shape[-1], batch, "int32"))

    def batches():
        while True:
            yield images, labels

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):  # the loss is there: all steps are done
            self.seconds = (time.perf_counter() - self.began) / steps

    clock = Clock()

    def train():
        model.fit(
            batches(), steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False, callbacks=[clock]
        )
        return clock.seconds

    return train, 2 * 3 * total_multiply_adds(model)


def spread(values):
    """The median and the quartiles, three digits each."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return {
        "median": float(f"{middle:.3g}"),
        "lower quartile": float(f"{low:.3g}"),
        "upper quartile": float(f"{high:.3g}"),
    }


def main():
    """Measure, print and keep the results."""
    device, report = gpu(), {}
    for network, (batch, steps) in NETWORKS.items():
        sides = {policy: trainer(network, policy, batch, steps) for policy in POLICIES}
        times = {policy: [] for policy in POLICIES}
        for number in range(ROUNDS + 1):
            for policy, (train, _) in sides.items():
                seconds = train()
                if number:  # the first round compiles
                    times[policy].append(seconds)
        report[network] = {"batch": batch}
        for policy, seconds in times.items():
            operations = sides[policy][1]
            report[network][policy] = {
                "ms a step": spread([1e3 * second for second in seconds]),
                "images/s": spread([batch / second for second in seconds]),
                "TFLOP/s": spread([batch * operations / second / 1e12 for second in seconds]),
                "times float32's speed": spread(
                    [a / b for a, b in zip(times["float32"], seconds, strict=True)]
                ),
            }
            print(network, policy, json.dumps(report[network][policy]), flush=True)
    HERE.with_suffix(".json").write_text(
        json.dumps({"device": device.device_kind, "networks": report}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
