"""Does the input pipeline hold up training? And does memory stay flat as a folder grows?

`python benchmarks/pipeline.py FOLDER` takes a folder of class folders, such as CIFAR-10 as JPEG
files. It alternates rounds of training steps of resnet20 on the whole pipeline (shuffle, pick,
augment, batch), with images in memory and read from their files at every step, with rounds on one
batch kept in memory, in one process, and compares the median step of each round. Then it loads a
tenth of the files and all of them, in a process each, and compares the peak memory. Results go to
benchmarks/pipeline.json.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS, STEPS, SKIPPED = 16, 10, 2  # of each side; a round's first steps fill buffers
HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))


def step_times(folder):
    """Return the median step of each round in seconds: {"in memory": [...], "streaming": ...}."""
    from zoo.training import recipes  # isort: skip - before TensorFlow, as in `zoo train`
    import keras
    import tensorflow as tf

    from zoo.training.data import pipeline
    from zoo.training.engine import fit

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.ticks = [time.perf_counter()]

        def on_train_batch_end(self, batch, logs=None):
            self.ticks.append(time.perf_counter())

    sides = {}
    for side, cache in (("in memory", "memory"), ("streaming", "none")):
        recipe = recipes.get_recipe("resnet20-cifar10", str(folder))
        recipe = dataclasses.replace(recipe, cache=cache)
        dataset, build = fit.prepare(recipe)
        sides[side] = pipeline.training_batches(dataset.train, recipe, len(dataset.class_names))
    model = build()
    fit.compile_model(model, recipe, 1000)
    sides["one batch"] = tf.data.Dataset.from_tensors(next(iter(sides["in memory"]))).repeat()
    times = {side: [] for side in sides}
    for number in range(ROUNDS + 1):
        for side, batches in sides.items():
            clock = Clock()
            model.fit(
                batches,
                steps_per_epoch=STEPS + SKIPPED,
                epochs=1,
                verbose=0,
                shuffle=False,
                callbacks=[clock],
            )
            if number:  # the first round traces and warms up
                ticks = clock.ticks[SKIPPED:]
                times[side].append(median(b - a for a, b in zip(ticks, ticks[1:])))
        print(f"round {number} of {ROUNDS}", flush=True)
    return times


def peak_megabytes(folder):
    """Return the peak memory of a process that loads `folder` and reads 100 training batches."""
    done = subprocess.run(
        [sys.executable, HERE, "--load", folder], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def load(folder):
    from zoo.training import recipes
    from zoo.training.data import pipeline
    from zoo.training.engine import fit

    recipe = recipes.get_recipe("resnet20-cifar10", str(folder))
    dataset, _ = fit.prepare(recipe)
    for _ in pipeline.training_batches(dataset.train, recipe, len(dataset.class_names)).take(100):
        pass
    # getrusage's maximum would be that of the parent process, if higher.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)


def tenth(folder, to):
    """Link every tenth file of `folder` into a folder of the same shape under `to`."""
    for number, file in enumerate(
        sorted(path for path in Path(folder).rglob("*") if path.is_file())
    ):
        if number % 10 == 0:
            link = Path(to) / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(file.resolve(), link)
    return to


def main(folder):
    """Measure, print and keep the results."""
    from sides import keep, ratio, spread

    times = step_times(folder)
    report = {
        "network": "resnet20",
        "batch": 128,
        "rounds": ROUNDS,
        "steps of a round": STEPS,
    }
    for side, values in times.items():
        report[f"{side} ms"] = spread([1e3 * value for value in values], 1)
    for side in ("in memory", "streaming"):
        report[f"{side} / one batch"] = ratio(times[side], times["one batch"])
    scratch = tempfile.mkdtemp()
    try:
        few, many = peak_megabytes(tenth(folder, scratch)), peak_megabytes(folder)
    finally:
        shutil.rmtree(scratch)
    report["peak MB"] = {
        "a tenth of the files": round(few),
        "all files": round(many),
        "difference": round(many - few),
    }
    keep(__file__, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    load(sys.argv[2]) if sys.argv[1] == "--load" else main(sys.argv[1])
