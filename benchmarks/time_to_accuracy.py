"""How much sooner the zoo's recipe for the simple CNN reaches the score than the course's loop.

`python benchmarks/time_to_accuracy.py [ROUNDS]` needs PyTorch, and MNIST in $TFDS_DATA_DIR. Both
sides train the same network on the same images, of which the zoo's holds a tenth out as its recipe
says, in processes that take turns. The clock runs while they train, from the first batch asked for,
TensorFlow's tracing included; every 50 batches it stands still while the test images are scored, by
the zoo with the averages of the weights, which are what its recipe hands over. Results go to
benchmarks/time_to_accuracy.json.
"""
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

TARGET = 0.9846  # the course's score
EVERY = 50  # batches between two scores
LONGEST = 30  # epochs before a side gives up
ROUNDS = 5
HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))


class Reached(Exception):
    """The target is."""


class Clock:
    """Counts batches and the seconds they take; `tick` says when the target is reached."""

    def __init__(self, score):
        self.score, self.batches, self.seconds, self.began = score, 0, 0.0, time.perf_counter()

    def tick(self):
        self.batches += 1
        if self.batches % EVERY:
            return False
        self.seconds += time.perf_counter() - self.began
        self.accuracy = self.score()
        self.began = time.perf_counter()
        return self.accuracy >= TARGET


def mnist(part):
    """What torchvision's MNIST with ToTensor and Normalize is."""
    import numpy as np
    import tensorflow_datasets as tfds
    import torch
    from PIL import Image

    images, labels = tfds.as_numpy(
        tfds.load("mnist", split=part, batch_size=-1, as_supervised=True, download=False))

    class Mnist(torch.utils.data.Dataset):
        def __len__(self):
            return len(labels)

        def __getitem__(self, place):
            pixels = torch.from_numpy(np.array(Image.fromarray(images[place, ..., 0]), copy=True))
            return (pixels[None].float().div(255) - 0.1307).div(0.3081), int(labels[place])

    return Mnist()


def course(seed):
    """Document 002's loop: batches of 64 single PIL images, SGD at 0.01 with momentum 0.5."""
    import torch

    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 10, 5), torch.nn.MaxPool2d(2), torch.nn.ReLU(),
        torch.nn.Conv2d(10, 20, 5), torch.nn.MaxPool2d(2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(320, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
    criterion = torch.nn.CrossEntropyLoss()
    test = mnist("test")
    pixels, truth = next(iter(torch.utils.data.DataLoader(test, len(test))))
    clock = Clock(lambda: float((net(pixels).argmax(1) == truth).float().mean()))
    train = mnist("train")
    for _ in range(LONGEST):
        for images, labels in torch.utils.data.DataLoader(train, 64, shuffle=True):
            optimizer.zero_grad()
            criterion(net(images), labels).backward()
            optimizer.step()
            if clock.tick():
                return clock
    raise SystemExit(f"the course's loop had {clock.accuracy} after {LONGEST} epochs")


def zoo_recipe(seed):
    """The recipe simple_cnn-mnist, in a process that starts as the command's, until the score."""
    from zoo.startup import quiet_import

    with quiet_import():
        from zoo.training import recipes  # isort: skip - before TensorFlow, as in `zoo train`
        import keras

        from zoo.training.data import pipeline
        from zoo.training.engine import fit
    recipe = recipes.override(recipes.get_recipe("simple_cnn-mnist"), [f"seed={seed}"])
    dataset, build = fit.prepare(recipe)
    keras.utils.set_random_seed(seed)
    model, steps = build(), pipeline.steps_per_epoch(dataset.train, recipe.batch_size)
    fit.compile_model(model, recipe, steps)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if clock.tick():
                raise Reached

    clock = Clock(lambda: averages_score(model, dataset.test))
    try:
        model.fit(pipeline.training_batches(dataset.train, recipe, len(dataset.class_names)),
                  epochs=recipe.epochs, steps_per_epoch=steps, shuffle=False, verbose=0,
                  callbacks=[Stop()])
    except Reached:
        return clock
    raise SystemExit(f"simple_cnn-mnist had {clock.accuracy} at its end")


def averages_score(model, test):
    """The accuracy of a model with the averages of its weights, which stay, to the bit.

    keras.callbacks.SwapEMAWeights rounds them as it swaps them, which changes the training it is to
    measure.
    """
    import numpy as np

    weights, images = model.trainable_variables, test.examples
    before = [variable.numpy() for variable in weights]
    model.optimizer.finalize_variable_values(weights)
    found = [np.argmax(model.predict_on_batch(images[first:first + 1000]), axis=1)
             for first in range(0, len(test), 1000)]
    for variable, value in zip(weights, before, strict=True):
        variable.assign(value)
    return float(np.mean(np.concatenate(found) == test.labels))


def main(rounds):
    """Measure, print and keep the results."""
    from sides import keep

    runs = {"course": [], "zoo": []}
    for seed in range(rounds):
        for side, done in runs.items():
            asked = [sys.executable, HERE, side, str(seed)]
            said = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout
            done.append(json.loads(said.splitlines()[-1]))
            print(side, done[-1], flush=True)
    seconds = {side: median(run["seconds"] for run in done) for side, done in runs.items()}
    report = {"target": TARGET, "runs": runs, "median seconds": seconds,
              "ratio": round(seconds["course"] / seconds["zoo"], 1)}
    keep(HERE, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        reached = {"course": course, "zoo": zoo_recipe}[sys.argv[1]](int(sys.argv[2]))
        print(json.dumps({"seed": int(sys.argv[2]), "seconds": round(reached.seconds, 2),
                          "batches": reached.batches, "accuracy": round(reached.accuracy, 4)}))
    else:
        main(int(sys.argv[1]) if len(sys.argv) == 2 else ROUNDS)
