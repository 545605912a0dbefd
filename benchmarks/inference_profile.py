"""What a call of an exported SavedModel spends its time on, beside ONNX Runtime.

`python benchmarks/inference_profile.py [NETWORK...]` exports lenet5 and resnet20 as inference.py
does. Two parts, at batch 1 and 32:
- settings: the signature serving_default with one thing changed at a time, a function of TensorFlow
  that returns its inputs, and ONNX Runtime, processes taking turns;
- kernels: the milliseconds of a call by kind of operation, from TensorFlow's profiler, with threads
  and on one thread.
Medians in milliseconds, and the time of each side over ONNX Runtime's with as many threads, go to
benchmarks/inference_profile.json with the machine's load average: on a busy machine only the
ratios count.
"""

import os
import sys
import tempfile
from pathlib import Path

import inference
import sides
from inference import current
from sides import in_words, ratio, spread

CALLS = {"lenet5": {1: 100, 32: 25}, "resnet20": {1: 25, 32: 4}}  # of each batch size in a round
ROUNDS, TRACED, SHOWN = 9, 50, 6  # rounds; calls that are traced; kernels in the report
WARM_UP = 5  # untimed calls at the start of a round
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
SIDES = {  # variables of the environment
    "SavedModel": {},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "system allocator": {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"},
    "caller computes": {"TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1"},
    "one thread": ONE_THREAD,
    "empty function": {},
    "ONNX Runtime": {},
    "ONNX Runtime, one thread": {},
}
TRACES = ("SavedModel", "one thread", "without oneDNN")


def open_with(side, paths):
    """Return a function from float32 images to outputs."""
    from zoo import startup

    startup.choose_onednn(None)  # TensorFlow's default, unless the environment has another
    from zoo.training.deployment import runtimes

    if side == "empty function":
        return empty_function()
    onnx = side.startswith("ONNX")
    threads = 1 if onnx and "one thread" in side else None
    path = paths["ONNX Runtime" if onnx else "SavedModel"]
    return runtimes.load(path, threads)["serving_default"].run


def empty_function():
    """Return the call of a signature of one input and five outputs that computes nothing."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def outputs(image):
        return {name: image[:, 0, 0, 0] for name in "abcde"}

    function = outputs.get_concrete_function(tf.TensorSpec((None, None, None, None), name="image"))

    def run(images):
        return {name: value.numpy() for name, value in function(tf.constant(images)).items()}

    return run


def answer(side, paths, shape, calls, traced=False):
    """Return the seconds of `calls` calls; with `traced`, milliseconds by kind of operation."""
    if current.get("of") != (paths, shape):
        current.clear()
        current.update(ask=open_with(side, paths), of=(paths, shape))
    if traced:
        from training_step_profile import kernels

        return kernels(lambda count: time_calls(shape, count), calls)
    return {"seconds": time_calls(shape, calls, WARM_UP)}


def time_calls(shape, calls, warm_up=0):
    """Return the seconds of each call, after `warm_up` that are not timed."""
    return inference.time_calls(current["ask"], inference.images_of(shape), calls, warm_up)


def compare(started, paths, shape, calls):
    """Return medians, ratios and kernels of one network at one batch size."""
    question = {"paths": paths, "shape": shape}
    times, _ = sides.take_turns(started, ROUNDS, lambda name: {**question, "calls": calls})
    other = {name: "ONNX Runtime" + ", one thread" * ("one thread" in name) for name in times}
    traces = {
        name: started[name].ask(**question, calls=min(TRACED, calls), traced=True)
        for name in TRACES
    }
    return {
        "ms": {
            name: spread([1e3 * second for second in seconds]) for name, seconds in times.items()
        },
        "over ONNX Runtime": {
            name: ratio(seconds, times[other[name]])
            for name, seconds in times.items()
            if name != other[name]
        },
        "kernels ms": {
            name: {kind: round(ms, 3) for kind, ms in list(trace.items())[:SHOWN]}
            for name, trace in traces.items()
        },
    }


def main():
    """Measure, print and keep the results."""
    report = {"load average": round(os.getloadavg()[1], 1), "networks": {}}
    with sides.sides(__file__, SIDES, **SIDES) as started, tempfile.TemporaryDirectory() as folder:
        import zoo

        for network, sizes in CALLS.items():
            if sys.argv[1:] and network not in sys.argv[1:]:
                continue
            paths = inference.export(network, Path(folder) / network)
            report["networks"][network] = found = {}
            for size, calls in sizes.items():
                shape = [size, *zoo.spec(network).defaults["input_shape"]]
                found[f"batch {size}"] = one = compare(started, paths, shape, calls)
                for name, value in one["over ONNX Runtime"].items():
                    print(f"{network}, batch {size}, {name}: {in_words(value)}", flush=True)
    sides.keep(__file__, report)


if __name__ == "__main__":
    sides.run(answer, main)
