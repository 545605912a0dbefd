"""How many images a second does a stream read, beside pipelines written by hand and by others?

`python benchmarks/streaming.py FOLDER [PYTHON]` takes a folder of class folders of JPEG files and
alternates rounds of the same work: read, decode, random resized crop to 224, flip, batches of 128.
The sides are ours, a tf.data pipeline written by hand for the purpose and, where PYTHON is an
interpreter that has them, PyTorch's DataLoader (2 workers, Pillow transforms) and Grain. Results go
to benchmarks/streaming.json. A side stands still while the others are measured.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))
ROUNDS, SKIPPED, BATCH, SIDE = 7, 2, 128, 224
SECONDS = 4  # of a round
OURS, BY_HAND = "ours", "tf.data by hand"
PEERS = ("PyTorch DataLoader", "Grain")


def paths_of(folder):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


def ours(folder):
    """Return our batches, with a crop of the original image."""
    from zoo.training import recipes
    from zoo.training.data import pipeline
    from zoo.training.data.dataset import load_dataset

    augment = {"flip": True, "random_resized_crop": 0.08}
    recipe = recipes.Recipe(
        "b", "resnet18", folder, augment=augment, batch_size=BATCH, cache="none"
    )
    dataset = load_dataset(recipe, (SIDE, SIDE, 3))
    return iter(pipeline.training_batches(dataset.train, recipe, len(dataset.class_names)))


def by_hand(folder):
    """Return batches as TensorFlow's ImageNet examples make them: only the crop is decoded."""
    import numpy as np
    import tensorflow as tf

    paths = paths_of(folder)
    names = sorted({Path(path).parent.name for path in paths})
    labels = np.array([names.index(Path(path).parent.name) for path in paths], "int32")

    def example(path, label):
        data = tf.io.read_file(path)
        shape = tf.io.extract_jpeg_shape(data)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            shape, tf.zeros((1, 0, 4)), area_range=(0.08, 1.0), aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10, use_image_if_no_bounding_boxes=True)
        window = tf.concat([begin[:2], size[:2]], 0)
        image = tf.io.decode_and_crop_jpeg(data, window, channels=3)
        image = tf.image.resize(image, (SIDE, SIDE), antialias=True)
        return tf.image.random_flip_left_right(image), tf.one_hot(label, len(names))

    data = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths)).repeat()
    return iter(data.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2))


def dataloader(folder):
    import torch
    from torchvision import datasets, transforms

    view = transforms.Compose([
        transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(),
        transforms.PILToTensor()])
    data = datasets.ImageFolder(folder, view)
    sampler = torch.utils.data.RandomSampler(data, replacement=True, num_samples=1 << 40)
    return iter(torch.utils.data.DataLoader(data, BATCH, sampler=sampler, num_workers=2))


def grain_batches(folder):
    import grain.python as grain
    import numpy as np
    from PIL import Image

    paths = paths_of(folder)

    class Crop(grain.RandomMapTransform):
        def random_map(self, path, generator):
            with Image.open(path) as image:
                image = image.convert("RGB")
                width, height = image.size
                for _ in range(10):
                    area = width * height * generator.uniform(0.08, 1)
                    ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
                    wide, tall = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
                    if wide <= width and tall <= height:
                        break
                else:
                    wide = tall = min(width, height)
                left = generator.integers(0, width - wide + 1)
                top = generator.integers(0, height - tall + 1)
                pixels = np.asarray(image.resize(
                    (SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, left + wide, top + tall)))
            return pixels[:, ::-1] if generator.random() < 0.5 else pixels

    data = grain.MapDataset.source(paths).seed(0).shuffle().repeat().random_map(Crop())
    data = data.batch(BATCH).to_iter_dataset(grain.ReadOptions(
        num_threads=2, prefetch_buffer_size=4))  # batches: its 500 would fill the memory
    return iter(data)


SIDES = {OURS: ours, BY_HAND: by_hand, PEERS[0]: dataloader, PEERS[1]: grain_batches}


def serve(side, folder):
    """Read batches for ever; print "batch" after each one."""
    batches = SIDES[side](folder)
    print("started", flush=True)
    while True:
        next(batches)
        print("batch", flush=True)


class Side:
    """A process that stands still, with all it started, while other sides are measured."""

    def __init__(self, side, python, folder):
        self.process = subprocess.Popen(
            [python, HERE, "--serve", side, folder], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True)
        self.output = self.process.stdout.fileno()
        self.wait_for(b"started")
        self.signal(signal.SIGSTOP)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def wait_for(self, word):
        line = b""
        while word not in line:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"The process {self.process.args} died.")

    def cpu(self):
        """Return the seconds of CPU that the process and its children have used."""
        process = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def measure(self):
        """Return (images a second, milliseconds of CPU an image) of a round."""
        self.signal(signal.SIGCONT)
        for _ in range(SKIPPED):
            self.wait_for(b"batch")
        start, cpu, count = time.perf_counter(), self.cpu(), 0
        while time.perf_counter() - start < SECONDS:
            self.wait_for(b"batch")
            count += BATCH
        seconds, cpu = time.perf_counter() - start, self.cpu() - cpu
        self.signal(signal.SIGSTOP)
        return count / seconds, 1e3 * cpu / count


def main(folder, python=None):
    """Measure, print and keep the results."""
    names = [OURS, BY_HAND, *(PEERS if python else ())]
    started, rates, cpu = {}, {name: [] for name in names}, {name: [] for name in names}
    try:
        for name in names:
            started[name] = Side(name, python if name in PEERS else sys.executable, folder)
        for number in range(ROUNDS + 1):
            for name in names[::-1 if number % 2 else 1]:
                measured = started[name].measure()
                if number:  # the first round warms up
                    rates[name].append(measured[0])
                    cpu[name].append(measured[1])
            print(f"round {number} of {ROUNDS}", flush=True)
    finally:
        for side in started.values():
            side.signal(signal.SIGKILL)
            side.process.communicate()
    report = {"files": len(paths_of(folder)), "batch": BATCH}
    for name in names:
        report[name] = {"images per second": spread(rates[name], 0),
                        "ours is times": ratio(rates[OURS], rates[name]),
                        "CPU ms per image": spread(cpu[name], 2)}
    keep(__file__, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(*sys.argv[2:])
    else:
        import psutil
        from sides import keep, ratio, spread

        main(*sys.argv[1:])
