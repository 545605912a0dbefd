"""Where a training step's time goes, and which settings of TensorFlow change it.

`python benchmarks/training_step_profile.py` needs PyTorch. Two parts, both on the networks of
training_step.py but vgg16:
- settings: the zoo's step with one thing changed at a time, against the zoo as it is, processes
  taking turns;
- kernels: the milliseconds of a step by kind of operation, from TensorFlow's profiler and from
  PyTorch's, each on one thread, where the times of operations add up.
Results go to benchmarks/training_step_profile.json, and as tables to
benchmarks/training_step_profile.md.
"""

import collections
import re
import tempfile
from pathlib import Path

import sides
import training_step
from sides import in_words, ratio, spread

NETWORKS = {
    "simple_cnn": 104,
    "lenet5": 56,
    "small_inception": 16,
    "resnet20": 8,
}  # and the steps in a round
ROUNDS, TRACED, SHOWN = 7, 5, 12  # rounds of the settings; steps traced; kernels in a table
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
SETTINGS = {  # what is changed: variables of the environment, attributes of the compiled model
    "zoo": ({}, {}),
    "without oneDNN": ({"TF_ENABLE_ONEDNN_OPTS": "0"}, {}),
    "one operation at a time": ({"TF_NUM_INTEROP_THREADS": "1"}, {}),
    "one thread": (ONE_THREAD, {}),
    "jit_compile": ({}, {"jit_compile": True}),
    "8 steps an execution": ({}, {"steps_per_execution": 8}),
    "without metrics": ({}, {"_compile_metrics": None}),
    "Keras's batch normalisation": ({}, {}),
    "torch": ({}, {}),
    "torch, one thread": (ONE_THREAD, {}),
}
current = {}


def build(side, network):
    """Build the network as `side` has it and warm it up, unless it is the one at hand."""
    if current.get("network") != network:
        current.clear()
        if side.startswith("torch"):
            train, _ = training_step.torch_side(network)
        else:
            if side == "Keras's batch normalisation":
                from zoo.training.engine import prepare

                prepare.fuse = lambda model: None
            train, _ = training_step.zoo_side(network, SETTINGS[side][1])
        train(8)
        current.update(network=network, train=train)
    return current["train"]


def answer(side, network, steps, traced=False):
    """Train for `steps` steps; return the seconds of each.

    With `traced`, return the milliseconds of each kind of operation.
    """
    train = build(side, network)
    if traced:
        return (torch_kernels if side.startswith("torch") else kernels)(train, steps)
    return {"seconds": train(steps)}


def kernels(train, steps):
    """{kind of operation: milliseconds in a step} by TensorFlow's profiler."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        train(steps)
        tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    took = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if found := re.fullmatch(
                    r"[^:]+:([A-Z_]\w*)", name
                ):  # an operation's name and kind
                    took[found[1]] += event.duration_ps / 1e9 / steps
    return dict(took.most_common(SHOWN))


def torch_kernels(train, steps):
    """{kind of operation: milliseconds in a step} by PyTorch's profiler."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(steps)
    took = collections.Counter(
        {event.key: event.self_cpu_time_total / 1e3 / steps for event in profile.key_averages()}
    )
    return dict(took.most_common(SHOWN))


def measure():
    """Return {network: its settings, ratios and kernels}."""
    report = {}
    environments = {name: environment for name, (environment, _) in SETTINGS.items()}
    with sides.sides(__file__, SETTINGS, **environments) as started:
        for network, steps in NETWORKS.items():
            question = {"network": network, "steps": steps}
            times, _ = sides.take_turns(started, ROUNDS, lambda name, asked=question: asked)
            traces = {
                name: started[name].ask(network=network, steps=TRACED, traced=True)
                for name in ("one thread", "torch, one thread")
            }
            report[network] = {
                "batch": training_step.NETWORKS[network][0][0],
                "ms": {
                    name: spread([1e3 * second for second in seconds])
                    for name, seconds in times.items()
                },
                "over zoo": {
                    name: ratio(seconds, times["zoo"])
                    for name, seconds in times.items()
                    if name != "zoo"
                },
                "kernels ms": {
                    name: {kind: round(ms, 3) for kind, ms in trace.items()}
                    for name, trace in traces.items()
                },
            }
            print(
                f"{network}:",
                "; ".join(
                    f"{name} {in_words(value)}"
                    for name, value in report[network]["over zoo"].items()
                ),
                flush=True,
            )
    return report


def tables(report):
    """The report as Markdown."""
    text = [f"# {Path(__file__).stem}, written by `python benchmarks/{Path(__file__).name}`\n"]
    for network, found in report.items():
        text.append(
            f"## {network}, batch {found['batch']}\n\n"
            "| setting | ms a step | over the zoo's, with quartiles |\n"
            "| --- | ---: | ---: |"
        )
        ratios = {"zoo": 1} | {name: in_words(one) for name, one in found["over zoo"].items()}
        text += [
            f"| {name} | {ms['median']:g} | {ratios[name]} |" for name, ms in found["ms"].items()
        ]
        ours, theirs = (list(trace.items()) for trace in found["kernels ms"].values())
        text.append(
            "\n| TensorFlow, one thread | ms | PyTorch, one thread | ms |\n"
            "| --- | ---: | --- | ---: |"
        )
        text += [f"| {a} | {b:g} | {c} | {d:g} |" for (a, b), (c, d) in zip(ours, theirs)]
        text.append("")
    return "\n".join(text)


def main():
    """Measure, print and keep the results."""
    report = measure()
    sides.keep(__file__, {"rounds": ROUNDS, "networks": report})
    Path(__file__).with_suffix(".md").write_text(tables(report))


if __name__ == "__main__":
    sides.run(answer, main)
