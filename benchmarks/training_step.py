"""How long a training step takes, beside PyTorch's and beside plain Keras.

`python benchmarks/training_step.py` needs PyTorch. The same network, batch and optimiser (SGD with
momentum) on the same random pixels, which lie in memory, in float32:
- zoo: `model.fit` as `zoo train` compiles and calls it, with its checkpoint and its progress;
- keras: the same network by `compile` and `fit` on NumPy arrays, as courses write it;
- torch, torch channels_last, torch.compile: the same network in PyTorch, eager, eager with the
  other layout, and compiled.
Each is a process of its own; they take turns. A side's first steps are not counted. Results, with
the quartiles of the rounds, go to benchmarks/training_step.json.
"""

import gc
import tempfile
import time
from pathlib import Path

import numpy as np
import sides
from sides import in_words, ratio, spread

# Batch, input and classes; then the steps in a round, those of them not counted, and the rounds
NETWORKS = {
    "simple_cnn": ((64, 28, 28, 1), 10, 110, 10, 7),
    "lenet5": ((128, 32, 32, 1), 10, 60, 10, 7),
    "small_inception": ((128, 28, 28, 1), 10, 14, 2, 7),
    "resnet20": ((128, 32, 32, 3), 10, 5, 1, 7),
    "vgg16": ((8, 224, 224, 3), 1000, 1, 0, 5),
}
SIDES = ("zoo", "keras", "torch", "torch channels_last", "torch compile")
WARM_UP = 1  # steps that trace, compile and allocate, before the first one that is asked for
RATE, MOMENTUM = 1e-4, 0.9
# Of a side's process: the network at hand and the function that trains it for a number of steps
current = {}


def batch(network):
    """Random pixels, uint8 of shape (batch, height, width, channels), and their classes, int32."""
    rng, (shape, classes, *_) = np.random.default_rng(0), NETWORKS[network]
    return rng.integers(0, 256, shape, "uint8"), rng.integers(0, classes, shape[0], "int32")


def clock():
    """A callback that keeps the time of each step."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seconds, self.last = [], None

        def on_train_batch_begin(self, batch, logs=None):
            self.first, self.last = batch, self.last or time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            now, steps = (
                time.perf_counter(),
                batch + 1 - self.first,
            )  # more than one where an execution has several
            self.seconds += steps * [(now - self.last) / steps]
            self.last = now

    return Clock()


def zoo_side(network, settings=()):
    """As zoo.training.engine.fit does it; `settings` are attributes of the compiled model."""
    from zoo.training import recipes  # isort: skip - before TensorFlow, as in `zoo train`
    import tensorflow as tf

    import zoo
    from zoo.training.engine.callbacks import state_callbacks
    from zoo.training.engine.checkpoint import TrainingState
    from zoo.training.engine.prepare import compile_model
    from zoo.training.engine.progress import Report

    recipe = recipes.override(
        recipes.Recipe(network, network, "none"),
        [
            "optimizer=sgd",
            f"momentum={MOMENTUM}",
            f"learning_rate={RATE}",
            "schedule=constant",
            "warmup=0",
            f"batch_size={NETWORKS[network][0][0]}",
        ],
    )
    images, labels = batch(network)
    model = zoo.build(network)
    compile_model(model, recipe, 1000)
    for name, value in dict(settings).items():
        setattr(model, name, value)
    state = TrainingState(Path(tempfile.gettempdir()) / "none", 10**9, writes=False)
    state.restore(model)
    batches = tf.data.Dataset.from_tensors(
        (images, tf.one_hot(labels, model.output.shape[-1]))
    ).repeat()
    counted = clock()

    def train(steps):
        model.fit(
            batches,
            steps_per_epoch=steps,
            epochs=1,
            verbose=0,
            shuffle=False,
            callbacks=[*state_callbacks(state), Report(1, state, quiet=True), counted],
        )
        return counted.seconds

    return train, model.count_params()


def keras_side(network):
    """As a course's notebook does it: arrays, an optimiser, a loss, fit."""
    import keras

    import zoo

    images, labels = batch(network)
    model = zoo.build(network)
    model.compile(
        keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    counted = clock()

    def train(steps):
        count = steps * len(images)
        many = np.resize(images, (count, *images.shape[1:])).astype("float32")
        model.fit(
            many, np.resize(labels, count), batch_size=len(images), epochs=1, callbacks=[counted]
        )
        return counted.seconds

    return train, model.count_params()


def torch_side(network, channels_last=False, compiled=False):
    """The loop that PyTorch's tutorials show."""
    import torch
    import torch_networks

    images, labels = batch(network)
    pixels, labels = (
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(labels).long(),
    )
    net = getattr(torch_networks, network)()
    count = torch_networks.weights(net)
    if channels_last:
        net, pixels = (
            net.to(memory_format=torch.channels_last),
            pixels.contiguous(memory_format=torch.channels_last),
        )
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM)
    forward, criterion = torch.compile(net) if compiled else net, torch.nn.CrossEntropyLoss()

    def train(steps):
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            optimizer.zero_grad()
            loss = criterion(forward(pixels), labels)
            loss.backward()
            optimizer.step()
            loss.item()
            seconds.append(time.perf_counter() - began)
        return seconds

    return train, count


def answer(side, network, steps, skipped):
    """Train for `steps` steps; a network is built and warmed up when it is first asked for."""
    if current.get("network") != network:
        current.clear()
        gc.collect()
        try:
            if side.startswith("torch"):
                train, count = torch_side(
                    network, side.endswith("channels_last"), side.endswith("compile")
                )
            else:
                train, count = (zoo_side if side == "zoo" else keras_side)(network)
            train(WARM_UP)
        except Exception as error:  # no compiler that PyTorch can use: the other columns stand
            if not side.endswith("compile"):
                raise
            return {"missing": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        current.update(network=network, train=train, weights=count)
    return {"seconds": current["train"](steps)[skipped:], "weights": current["weights"]}


def main():
    """Measure, print and keep the results."""
    report = {"precision": "float32", "networks": {}}
    with sides.sides(__file__, SIDES) as started:
        for network, (shape, _, steps, skipped, rounds) in NETWORKS.items():
            first = {
                name: side.ask(network=network, steps=1, skipped=0)
                for name, side in started.items()
            }
            counts = {told["weights"] for told in first.values() if "weights" in told}
            assert len(counts) == 1, (
                f"{network} is not the same network on all sides: {counts} weights"
            )
            question = {"network": network, "steps": steps, "skipped": skipped}
            times, missing = sides.take_turns(started, rounds, lambda name, asked=question: asked)
            found = {
                "batch": shape[0],
                "weights": counts.pop(),
                "rounds": rounds,
                "steps in a round": steps - skipped,
                "ms": {
                    name: spread([1e3 * second for second in seconds])
                    for name, seconds in times.items()
                },
                "zoo over": {
                    name: ratio(times["zoo"], seconds)
                    for name, seconds in times.items()
                    if name != "zoo"
                },
            }
            report["networks"][network] = found | ({"missing": missing} if missing else {})
            print(
                f"{network}, batch {shape[0]}: {in_words(found['ms']['zoo'], ' ms')} a step; over",
                "; ".join(f"{name} {in_words(value)}" for name, value in found["zoo over"].items()),
                flush=True,
            )
            for name, why in missing.items():
                print(f"  {name}: {why}")
    sides.keep(__file__, report)


if __name__ == "__main__":
    sides.run(answer, main)
