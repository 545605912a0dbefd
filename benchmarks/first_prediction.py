"""How long until a network with ImageNet weights, which lie in the cache, has classified an image?

`python benchmarks/first_prediction.py` needs torchvision. It makes resnet18 of torchvision with
random weights, and lays its file into a cache for `zoo.build("resnet18", weights="imagenet")` and
one for `torchvision.models.resnet18(weights="IMAGENET1K_V1")`. Each round starts a new process for
each side. The seconds from the call that builds the network to the logits, and those of the
imports before it, go to benchmarks/first_prediction.json.
"""

import dataclasses
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import sides

ROUNDS = 9
SHAPE = (1, 224, 224, 3)


def prepare(folder):
    """Lay the file of a random network into both caches in `folder`; return its SHA-256."""
    import torch
    import torchvision
    from safetensors.torch import save_file

    from zoo.hub_weights import PUBLISHED

    row = PUBLISHED["resnet18", "imagenet"]
    state = torchvision.models.resnet18().state_dict()
    name = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (folder / "torch/hub/checkpoints").mkdir(parents=True)
    torch.save(state, folder / "torch/hub/checkpoints" / name)
    home = folder / "huggingface/hub" / f"models--{row.repository.replace('/', '--')}"
    file = home / "snapshots" / row.revision / row.file
    file.parent.mkdir(parents=True)
    save_file(state, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def zoo_side(sha256):
    """Return the seconds of the imports, and from the call to the logits."""
    began = time.perf_counter()
    import numpy as np

    import zoo
    from zoo.hub_weights import PUBLISHED

    zoo.build("lenet5")  # imports Keras and TensorFlow
    imported = time.perf_counter()
    row = "resnet18", "imagenet"
    PUBLISHED[row] = dataclasses.replace(PUBLISHED[row], sha256=sha256)
    image = np.full(SHAPE, 99, "uint8")
    start = time.perf_counter()
    network = zoo.build("resnet18", weights="imagenet")
    built = time.perf_counter()
    assert np.asarray(network(image)).shape == (1, 1000)
    end = time.perf_counter()
    return {"imports": imported - began, "build": built - start, "call": end - built}


def torchvision_side(sha256):
    """Return the same for torchvision."""
    began = time.perf_counter()
    import torch
    import torchvision

    imported = time.perf_counter()
    image = torch.full(SHAPE, 99, dtype=torch.uint8)
    normalize = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    start = time.perf_counter()
    network = torchvision.models.resnet18(weights="IMAGENET1K_V1").eval()
    built = time.perf_counter()
    with torch.inference_mode():
        assert network(normalize(image.permute(0, 3, 1, 2) / 255)).shape == (1, 1000)
    end = time.perf_counter()
    return {"imports": imported - began, "build": built - start, "call": end - built}


SIDES = {"zoo": zoo_side, "torchvision": torchvision_side}


def main():
    """Measure, print and keep the results."""
    found = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sha256 = prepare(folder)
        caches = {"HF_HOME": str(folder / "huggingface"), "TORCH_HOME": str(folder / "torch")}
        for number in range(ROUNDS + 1):
            for name in list(SIDES)[:: -1 if number % 2 else 1]:
                with sides.sides(__file__, [name], **{name: caches}) as started:
                    one = started[name].ask(sha256=sha256)
                if number:  # the first round fills the disk's cache
                    found[name].append(one)
    report = {"rounds": ROUNDS}
    for name, rounds in found.items():
        report[name] = {part: sides.spread([one[part] for one in rounds]) for part in rounds[0]}
    whole = {name: [one["build"] + one["call"] for one in rounds] for name, rounds in found.items()}
    report["zoo / torchvision"] = sides.ratio(whole["zoo"], whole["torchvision"])
    for name, parts in report.items():
        print(name, parts)
    sides.keep(__file__, report)


if __name__ == "__main__":
    sys.path.insert(0, str(sides.HERE.parent))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sides.run(lambda name, sha256: SIDES[name](sha256), main)
