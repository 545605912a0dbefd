"""How fast is an exported network, in each of the runtimes that it can be handed to?

`python benchmarks/inference.py` needs OpenVINO beside the packages that export. It exports lenet5,
resnet20 and mobilenet_v1 with weights as they are drawn, which cost as much as trained ones, and
asks in turn, a process each, all on every core:
- SavedModel: the signature serving_default, which also answers labels and the best five;
- ONNX Runtime and OpenVINO: the ONNX file; LiteRT: the LiteRT file, float32.
The medians of one call at batch 1 and 32, and the SavedModel's time over each, go to
benchmarks/inference.json.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import sides
from sides import in_words, ratio, spread

CALLS = {  # of each batch size in a round, and the rounds
    "lenet5": ({1: 200, 32: 50}, 9),
    "resnet20": ({1: 50, 32: 8}, 9),
    "mobilenet_v1": ({1: 20, 32: 2}, 5),
}
SIDES = ("SavedModel", "ONNX Runtime", "LiteRT", "OpenVINO")
WARM_UP = 1
current = {}  # of a side's process: the file and batch at hand, and the function that asks it


def export(network, folder):
    """Write all formats of `network` into `folder`; return {side: path}."""
    import zoo
    from zoo.training import recipes, trained
    from zoo.training.deployment import conversion, formats, saved_model

    model = zoo.build(network)
    names = [f"class {number}" for number in range(model.output.shape[-1])]
    whole = trained.Trained(
        folder,
        model,
        {"class_names": names},
        recipes.Recipe(network, network, "none"),
        is_shipped=True,
    )
    saved_model.write(whole, folder / "saved_model")
    conversion.write(whole, ("litert", "onnx"), folder, None)
    onnx = folder / formats.FILES["onnx"]
    paths = {
        "SavedModel": folder / "saved_model",
        "ONNX Runtime": onnx,
        "OpenVINO": onnx,
        "LiteRT": folder / formats.FILES["litert"],
    }
    return {side: str(path) for side, path in paths.items()}


def open_with(side, path):
    """Return a function from float32 images to probabilities."""
    if side == "LiteRT":
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
        return lambda images: runner(image=images)["probabilities"]
    if side == "OpenVINO":
        import openvino

        compiled = openvino.Core().compile_model(
            path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )  # else bfloat16
        return lambda images: compiled([images])[0]
    from zoo import startup

    startup.choose_onednn(None)  # as `zoo serve` and TensorFlow Serving have it
    from zoo.training.deployment import runtimes  # opens a SavedModel and an ONNX file on all cores

    ask = runtimes.load(path)["serving_default"].run
    return lambda images: ask(images)["probabilities"]


def answer(side, path, shape, calls):
    """Ask the file at `path` `calls` times; the first time, it is opened and warmed up."""
    images = images_of(shape)
    if current.get("of") != (path, shape):
        current.clear()
        try:
            current["ask"] = open_with(side, path)
        except ImportError as error:
            return {"missing": str(error)}
        current["of"] = path, shape
        time_calls(current["ask"], images, WARM_UP)
    seconds = time_calls(current["ask"], images, calls)
    return {"seconds": seconds, "probability": float(current["ask"](images).max())}


def images_of(shape):
    """Return random pixels, the same ones each time."""
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def time_calls(ask, images, calls, warm_up=0):
    """Return the seconds of each of `calls` calls, after `warm_up` that are not timed."""
    seconds = []
    for _ in range(warm_up + calls):
        began = time.perf_counter()
        ask(images)
        seconds.append(time.perf_counter() - began)
    return seconds[warm_up:]


def compare(started, paths, shape, calls, rounds):
    """Return the spreads of a call's milliseconds and of the SavedModel's time over the others'."""
    asked = {
        name: side.ask(path=paths[name], shape=shape, calls=1) for name, side in started.items()
    }
    said = [told["probability"] for told in asked.values() if "missing" not in told]
    assert max(said) - min(said) < 1e-3, f"the runtimes do not answer alike: {asked}"
    missing = {name: told["missing"] for name, told in asked.items() if "missing" in told}
    able = {name: side for name, side in started.items() if name not in missing}
    times, _ = sides.take_turns(
        able, rounds, lambda name: {"path": paths[name], "shape": shape, "calls": calls}
    )
    return {
        "ms": {
            name: spread([1e3 * second for second in seconds]) for name, seconds in times.items()
        },
        "SavedModel over": {
            name: ratio(times["SavedModel"], seconds)
            for name, seconds in times.items()
            if name != "SavedModel"
        },
        **({"missing": missing} if missing else {}),
    }


def main():
    """Measure, print and keep the results."""
    report = {"precision": "float32", "networks": {}}
    with sides.sides(__file__, SIDES) as started, tempfile.TemporaryDirectory() as folder:
        import zoo

        for network, (sizes, rounds) in CALLS.items():
            paths = export(network, Path(folder) / network)
            shape = zoo.spec(network).defaults["input_shape"]
            report["networks"][network] = found = {
                f"batch {size}": compare(started, paths, (size, *shape), calls, rounds)
                for size, calls in sizes.items()
            }
            for size, one in found.items():
                print(
                    f"{network}, {size}: SavedModel {in_words(one['ms']['SavedModel'], ' ms')};",
                    "over",
                    "; ".join(
                        f"{name} {in_words(value)}"
                        for name, value in one["SavedModel over"].items()
                    ),
                    *(
                        f"; {name} is missing: {why}"
                        for name, why in one.get("missing", {}).items()
                    ),
                    flush=True,
                )
    sides.keep(__file__, report)


if __name__ == "__main__":
    sides.run(answer, main)
