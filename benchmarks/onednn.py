"""What TensorFlow's oneDNN kernels change, off against on: a training step, and an export's calls.

`python benchmarks/onednn.py` measures the zoo's step of training_step.py, and the exported
signature of inference.py at batch 1 and 32, with $TF_ENABLE_ONEDNN_OPTS at 0 and at 1, a process
each, taking turns. Medians in milliseconds, and the time with oneDNN over the time without, go to
benchmarks/onednn.json with the machine's load average: on a busy machine only the ratios count.
"""

import os
import tempfile
from pathlib import Path

import inference
import sides
import training_step

STEPS = {"simple_cnn": 100, "lenet5": 50, "small_inception": 12, "resnet20": 4}  # in a round
ROUNDS = 7
ENVIRONMENTS = {"off": {"TF_ENABLE_ONEDNN_OPTS": "0"}, "on": {"TF_ENABLE_ONEDNN_OPTS": "1"}}


def answer(side, **question):
    """Return the seconds of training steps, or of calls of an exported SavedModel."""
    if "path" in question:
        return inference.answer("SavedModel", **question)
    if training_step.current.get("network") != question["network"]:
        train, _ = training_step.zoo_side(question["network"])
        train(8)
        training_step.current.update(network=question["network"], train=train)
    return {"seconds": training_step.current["train"](question["steps"])}


def main():
    """Measure, print and keep the results."""
    report = {"training step": {}, "SavedModel": {}}
    with sides.sides(__file__, ENVIRONMENTS, **ENVIRONMENTS) as started:
        for network, steps in STEPS.items():
            question = {"network": network, "steps": steps}
            report["training step"][network] = sides.compare(
                started, network, ROUNDS, question, "on", "off"
            )
        with tempfile.TemporaryDirectory() as folder:
            for network in ("lenet5", "resnet20"):
                calls, rounds = inference.CALLS[network]
                path = inference.export(network, Path(folder) / network)["SavedModel"]
                for batch, count in calls.items():
                    question = {"path": path, "shape": _shape(network, batch), "calls": count}
                    what = f"{network}, batch {batch}"
                    report["SavedModel"][what] = sides.compare(
                        started, what, rounds, question, "on", "off"
                    )
    sides.keep(__file__, {"load average": round(os.getloadavg()[1], 1), **report})


def _shape(network, batch):
    return [batch, *training_step.NETWORKS[network][0][1:]]


if __name__ == "__main__":
    sides.run(answer, main)
