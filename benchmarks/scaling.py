"""What more images cost, and what more classes cost.

`python benchmarks/scaling.py` loads synthetic 28x28 images from a .npz file and trains simple_cnn
on some batches of 128, in a process for each case: 10,000 to 100,000 images of 10 classes, and
50,000 images of 10 to 1,000 classes. It measures the seconds until the data set is loaded, the
milliseconds of a batch from the pipeline alone, and of a training step on it, and the peak memory.
Results, with the quartiles of the rounds, go to benchmarks/scaling.json.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sides
from sides import in_words, spread

CASES = (
    (10_000, 10),
    (50_000, 10),
    (100_000, 10),
    (50_000, 100),
    (50_000, 1000),
)  # images, classes
ROUNDS, STEPS = 3, 40


def write(folder, images, classes):
    """Write the data set of a case; return its path."""
    import numpy as np

    rng, path = np.random.default_rng(0), Path(folder) / f"{images}-{classes}.npz"
    labels = np.arange(images) % classes
    np.savez(
        path,
        x_train=rng.integers(0, 256, (images, 28, 28, 1), "uint8"),
        y_train=labels,
        x_test=rng.integers(0, 256, (classes, 28, 28, 1), "uint8"),
        y_test=np.arange(classes),
    )
    return path


def measure(path):
    """Load and train, and return what it costs."""
    from zoo.training import recipes
    from zoo.training.data import pipeline
    from zoo.training.engine.prepare import compile_model, prepare

    recipe = recipes.Recipe("scaling", "simple_cnn", str(path), optimizer="sgd")
    began = time.perf_counter()
    dataset, build = prepare(recipe)
    loaded, classes = time.perf_counter() - began, len(dataset.class_names)
    batches = pipeline.training_batches(dataset.train, recipe, classes)
    model = build()
    compile_model(model, recipe, STEPS)

    def train():
        model.fit(batches, steps_per_epoch=STEPS, epochs=1, verbose=0, shuffle=False)

    def draw():
        for _ in batches.take(STEPS):
            pass

    found = {"load s": loaded}
    for name, act in (("batch ms", draw), ("step ms", train)):
        act()  # traces
        began = time.perf_counter()
        act()
        found[name] = 1e3 * (time.perf_counter() - began) / STEPS
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return found | {"peak MB": int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024}


def main():
    """Measure, print and keep the results."""
    found = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        paths = {case: write(folder, *case) for case in CASES}
        for _ in range(ROUNDS):
            for case, path in paths.items():
                done = subprocess.run(
                    [sys.executable, __file__, path], capture_output=True, text=True, check=True
                )
                found[case].append(json.loads(done.stdout.splitlines()[-1]))
    report = {"rounds": ROUNDS, "network": "simple_cnn", "batch": 128, "cases": []}
    for (images, classes), costs in found.items():
        spreads = {name: spread([cost[name] for cost in costs]) for name in costs[0]}
        report["cases"].append({"images": images, "classes": classes, **spreads})
        print(
            f"{images:,} images of {classes} classes:",
            "; ".join(f"{name} {in_words(s)}" for name, s in spreads.items()),
        )
    sides.keep(__file__, report)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
