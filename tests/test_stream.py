"""Streaming: images that are read, decoded and resized when their step comes."""
import dataclasses
import itertools
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import ROOT
from tests.image_set import image_set
from tests.test_own_data import packed
from zoo.errors import UsageError, UserError
from zoo.training import evaluate, recipes
from zoo.training.data import pipeline
from zoo.training.data.augmentation.crops import training_view
from zoo.training.data.dataset import load_data, load_dataset
from zoo.training.data.opening import open_source
from zoo.training.data.stream import ImageStream
from zoo.training.engine.fit import train
from zoo.training.files import arrays_of, read_json
from zoo.training.preprocessing.images import decode_by, decode_or_explain, road_of


def photos(folder, count=40):
    """Noise in two classes, as JPEG, PNG, RGBA PNG and GIF files of several sizes."""
    noise = np.random.default_rng(0)
    for number, name in itertools.product(range(count), "ab"):
        size = (9 + number % 4, 12)
        pixels = noise.integers(0, 256, (*size, 4), "uint8") // (2 if name == "a" else 1)
        kind, mode = (("jpg", "RGB"), ("png", "RGB"), ("png", "RGBA"), ("gif", "L"))[number % 4]
        path = folder / name / f"{number}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(path)
    return folder


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path / "photos")


def recipe_of(folder, **fields):
    return recipes.Recipe("streamed", "lenet5", str(folder), normalize=True, **{
        "model_args": {"input_shape": (28, 28, 3)}, "epochs": 2, "batch_size": 16,
        "augment": {"shift": 2}, **fields})


def weights(run):
    with arrays_of(run / "best.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def test_the_short_road_gives_the_pixels_of_the_long_one():
    roads = set()
    signature = [tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32)]
    decode = tf.function(lambda data, road: decode_by(data, road, "#ffe0c0"),
                         input_signature=signature)
    for name, data in image_set().items():
        pixels, reason = decode_or_explain(data, "#ffe0c0")
        road = road_of(data)
        if reason:
            with pytest.raises(tf.errors.OpError):
                decode(data, road)
        else:
            assert np.array_equal(decode(data, road), pixels), name
            roads.add(road)
    assert roads == {0, 1, 2}


@pytest.mark.parametrize("fields", [
    {}, {"max_train_examples": 40, "augment": {"mixup": 0.2}},
    *(pytest.param(fields, marks=pytest.mark.slow) for fields in (
        {"resize": "crop", "background": "black"}, {"resize": "crop", "eval_resize": 16},
        {"balance": "sampling"}, {"balance": "weights", "augment": {}}))])
def test_a_stream_has_the_batches_of_memory(folder, fields):
    recipe = recipe_of(folder, **fields)
    batches, splits = {}, {}
    for cache in ("memory", "disk", "none"):
        dataset = load_dataset(dataclasses.replace(recipe, cache=cache), (12, 10, 3))
        splits[cache] = [split.examples for split in (dataset.train, dataset.test)]
        assert dataset.statistics == load_data(str(folder), (12, 10, 3), cache=cache,
                                               resize=recipe.resize,
                                               eval_resize=recipe.eval_resize,
                                               background=recipe.background).statistics
        batches[cache] = [
            *pipeline.training_batches(dataset.train, recipe, 2, first=3).take(9),
            *pipeline.batches(dataset.validation, 5, 2)]
    for cache in ("disk", "none"):
        assert all(map(np.array_equal, splits["memory"], splits[cache]))
        for one, other in zip(batches["memory"], batches[cache], strict=True):
            assert all(map(np.array_equal, one, other))
    assert len({len(batch[0]) for batch in batches["none"]}) > 1  # the last of an epoch is smaller


def test_arrays_are_resized_at_their_step(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 1), "uint8")
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(40) % 2)
    stream, memory = (load_data(str(tmp_path / "set.npz"), (9, 9, 1), cache=cache)
                      for cache in ("none", "memory"))
    assert np.array_equal(stream.train.examples, memory.train.examples)


@pytest.mark.slow
def test_the_weights_of_a_stream_are_those_from_memory(folder, tmp_path, capsys):
    recipe, runs = recipe_of(folder), {cache: tmp_path / cache for cache in ("memory", "none")}
    for cache, run in runs.items():
        train(dataclasses.replace(recipe, cache=cache), run)
    said = capsys.readouterr().out
    assert "80 images are read from their files at every step" in said
    assert_same_weights(*runs.values())
    memory, streamed = (read_json(run / "metrics.json") for run in runs.values())
    assert streamed["data_fingerprint"].startswith("files:")
    for key in ("test_accuracy", "test_loss", "test_confusion"):
        assert streamed[key] == memory[key]
    with arrays_of(runs["none"] / "examples.npz") as one, arrays_of(
            runs["memory"] / "examples.npz") as other:
        assert np.array_equal(one["examples"], other["examples"])
    assert evaluate(runs["none"])["accuracy"] == memory["test_accuracy"]
    (folder / "a/0.jpg").rename(folder / "a/00.jpg")
    with pytest.raises(UserError, match="has changed since"):
        evaluate(runs["none"])


def test_auto_streams_what_does_not_fit_and_a_run_goes_on_as_it_began(
        folder, tmp_path, capsys, monkeypatch):
    recipe = recipe_of(folder, epochs=1)
    train(recipe, tmp_path / "run")
    assert "in memory" in capsys.readouterr().out
    (tmp_path / "run/metrics.json").unlink()
    monkeypatch.setattr("zoo.training.data.cache._MEMORY_SHARE", 0)
    train(recipe, tmp_path / "run")
    assert "on disk" in capsys.readouterr().out
    train(recipe, tmp_path / "other")
    assert "are read from their files" in capsys.readouterr().out
    (tmp_path / "other/metrics.json").unlink()
    monkeypatch.undo()
    train(recipe, tmp_path / "other")
    assert "are read from their files" in capsys.readouterr().out
    with pytest.raises(UsageError, match="cache 'nome'. Did you mean 'none'"):
        recipe_of(folder, cache="nome")


def test_a_stream_opens_without_reading_a_file(folder):
    for path in folder.glob("*/*"):
        path.write_bytes(b"")
    dataset = load_data(str(folder), (4, 4, 3), cache="none")
    assert isinstance(dataset.train.source, ImageStream) and len(dataset.test) == 16
    (folder / "c").mkdir()
    with pytest.raises(UserError, match="no example of the class 'c'"):
        load_data(str(folder), (4, 4, 3), cache="none")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_damaged_file_is_named_when_it_is_read(folder, tmp_path, part):
    recipe = recipe_of(folder, cache="none", epochs=1)
    dataset = load_dataset(recipe, (28, 28, 3))
    split = getattr(dataset, part)
    source = open_source(str(folder))
    bad = source.example_name(int(split.indices[2]))
    with open(bad, "r+b") as file:
        file.truncate(90)
    recipe = dataclasses.replace(recipe, normalize=False)
    with pytest.raises(UserError, match=f"^{bad} cannot be decoded: it is not a JPEG, PNG, GIF, "
                                        "BMP or WebP image, or damaged. skip_bad=True"):
        train(recipe, tmp_path / "run", log=False)
    if part == "train":
        with pytest.raises(UserError, match=f"^{bad} cannot be decoded"):
            dataset.train.examples  # noqa: B018
        with pytest.raises(UserError, match=f"^{bad} cannot be decoded"):
            dataset.statistics  # noqa: B018


def test_damaged_files_are_replaced_counted_and_named(folder, tmp_path, capsys):
    recipe = recipe_of(folder, cache="none", skip_bad=True)
    dataset = load_dataset(recipe, (28, 28, 3))
    bad = [int(split.indices[place]) for split, place in (
        (dataset.train, 4), (dataset.train, 5), (dataset.train, len(dataset.train) - 1),
        (dataset.validation, 1), (dataset.test, 3))]
    source = open_source(str(folder))
    for index in bad:
        open(source.example_name(index), "wb").close()
    dataset = load_dataset(recipe, (28, 28, 3))
    (images, labels), = pipeline.batches(dataset.train, 64, 2)
    sound = dataset.train.take(np.array([6, 0]))
    assert len(images) == len(dataset.train) and np.array_equal(images[4], sound[0])
    assert np.array_equal(images[5], sound[0]) and np.array_equal(images[-1], sound[1])
    assert labels[5].numpy().argmax() == dataset.train.labels[6]
    results = train(recipe, tmp_path / "one")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("5 files that cannot be decoded were replaced by the next ones: ")
    assert all(source.example_name(index) in said for index in bad)
    assert len((tmp_path / "one/replaced.txt").read_text(encoding="utf-8").splitlines()) == 5
    assert results["test_examples"] == len(dataset.test) - 1
    train(recipe, tmp_path / "other", log=False)
    assert_same_weights(tmp_path / "one", tmp_path / "other")


def test_several_threads_name_damaged_files(folder, tmp_path):
    stream = ImageStream(open_source(str(folder)), (28, 28, 3))
    stream.bad_file = tmp_path / "replaced.txt"
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(stream.keep_bad, [[index] for index in range(80)] * 3))
    lines = stream.bad_file.read_text(encoding="utf-8").splitlines()
    assert {int(line.split("\t")[0]) for line in lines} == set(range(80))
    assert stream.bad == set(range(80))
    assert sorted(os.listdir(tmp_path)) == ["photos", "replaced.txt"]


def tfds_photos(folder, data_dir, file_format):
    """The photos as a data set of TensorFlow Datasets, in JPEG files of three shards."""
    tfds = pytest.importorskip("tensorflow_datasets")
    paths = sorted(folder.rglob("*.jpg"))

    class StreamedPhotos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
                "name": tfds.features.Text()}))

        def _split_generators(self, dl_manager):
            return {"train": ((number, {"image": str(path), "label": path.parent.name,
                                        "name": path.name}) for number, path in enumerate(paths))}

        def _generate_examples(self):
            raise NotImplementedError
    builder = StreamedPhotos(data_dir=data_dir, file_format=file_format)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return "streamed_photos"


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_records_are_read_by_number_and_decoded_as_files(folder, tmp_path, file_format):
    name = tfds_photos(folder, tmp_path / "tfds", file_format)
    source = open_source(name, tmp_path / "tfds")
    files = {path.read_bytes(): path for path in folder.rglob("*.jpg")}
    indices = np.random.default_rng(0).permutation(len(source))
    assert len(source) == len(files) == 20
    for index, data in zip(indices, source.read(indices), strict=True):
        assert source.class_names[source.labels[index]] == files[data].parent.name
    for cache in ("memory", "none"):
        dataset = load_data(name, (12, 10, 3), cache=cache, data_dir=tmp_path / "tfds")
        whole = open_source(str(folder))
        for image, index in zip(dataset.test.examples, dataset.test.indices, strict=True):
            path = files[source.read(np.array([index]))[0]]
            (number,) = [n for n in range(len(whole)) if whole.example_name(n) == str(path)]
            expected, = ImageStream(whole, (12, 10, 3)).read(np.array([number]))
            assert np.array_equal(image, expected)
    shards = sorted((tmp_path / "tfds").rglob("*train*-of-*"))
    assert len(shards) == 3
    with open(shards[1], "r+b") as file:
        file.truncate(60)
    with pytest.raises(UserError, match="The split train of streamed_photos cannot be read. Is"):
        load_data(name, (12, 10, 3), data_dir=tmp_path / "tfds")


KILLED = """
import os, random, signal, sys, threading
from zoo.training import recipes
from zoo.training.engine import callbacks
from zoo.training.engine.fit import train
callbacks._SECONDS = 0  # as if a step took minutes
left = int(sys.argv[4])
def count(self, batch, logs=None):
    global left
    left -= 1
    if not left:  # somewhere in a step, or in the write of a checkpoint
        threading.Timer(random.uniform(0, 0.1), os.kill, (os.getpid(), signal.SIGKILL)).start()
callbacks.SaveCheckpoint.on_train_batch_begin = count
train(recipes.read(sys.argv[1]), sys.argv[2], sys.argv[3], log=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "zip", "tfds"])
def test_a_killed_stream_ends_with_the_same_weights(folder, tmp_path, kind):
    argument, data_dir = str(folder), tmp_path / "tfds"
    if kind == "zip":
        argument = packed(folder, "photos.zip")
    elif kind == "tfds":
        argument = tfds_photos(folder, data_dir, "tfrecord")
    recipe = recipe_of(argument, cache="none", epochs=20, batch_size=2, ema=0.9,
                       augment={"random_resized_crop": 0.2, "flip": True, "shift": 2},
                       model_args={"dropout": 0.3, "input_shape": (28, 28, 3)})
    train(recipe, tmp_path / "whole", data_dir, log=False)
    (tmp_path / "recipe.json").write_text(recipe.to_json(), encoding="utf-8")
    steps = read_json(tmp_path / "whole/metrics.json")["examples"]["train"] * 20 // 2
    for moment in np.random.default_rng().integers(2, steps // 8, 5):
        done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "recipe.json",
                               tmp_path / "killed", data_dir, str(moment)], cwd=ROOT)
        assert done.returncode == -signal.SIGKILL, moment
    train(recipe, tmp_path / "killed", data_dir, log=False)
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("crop", [{"random_resized_crop": 0.08}, {"scale_jitter": [30, 60]}])
def test_a_crop_decodes_the_pixels_of_the_whole_image(tmp_path, crop):
    """JPEG files with every subsampling of colours, of which only the crop is decoded."""
    noise = np.random.default_rng(0)
    for number, name in itertools.product(range(18), "ab"):
        path = tmp_path / "photos" / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(noise.integers(0, 256, (9, 12, 3), "uint8"))
        image = small.resize((61 + number, 83 - number)).convert("L" if number == 17 else "RGB")
        image.save(path, subsampling=number % 3, progressive=number % 2 == 1)
    recipe = recipe_of(tmp_path / "photos", augment=crop, cache="memory")
    dataset = load_dataset(recipe, (24, 20, 3))
    source = dataset.train.source
    assert isinstance(source, ImageStream)
    batches = pipeline.training_batches(dataset.train, recipe, 2, first=1)
    for step, (images, _) in enumerate(batches.take(3), start=1):
        for position, place in enumerate(pipeline.indices_of_step(dataset.train, recipe, 2, step)):
            data, = source.source.read(dataset.train.indices[[place]])
            whole, _ = decode_or_explain(data)
            expected = training_view(tf.constant(whole), (24, 20, 3), crop,
                                     tf.constant([recipe.seed, step, position], tf.int64))
            assert np.array_equal(images[position], expected)


def test_workers_read_disjoint_shares_of_a_batch(folder, monkeypatch):
    recipe = recipe_of(folder, cache="none", augment={"flip": True, "shift": 2})
    dataset = load_dataset(recipe, (12, 10, 3))
    source, reads = dataset.train.source.source, []
    plain = type(source).read

    def read(self, indices):
        reads.append(set(indices.tolist()))
        return plain(self, indices)
    monkeypatch.setattr(type(source), "read", read)
    whole = list(pipeline.training_batches(dataset.train, recipe, 2).take(4))
    shares = []
    for worker in (0, 1):
        reads.clear()
        batches = list(pipeline.training_batches(
            dataset.train, recipe, 2, share=(worker, 2)).take(4))
        shares.append(reads[:4])
        for (images, labels), (expected, expected_labels) in zip(batches, whole, strict=True):
            assert np.array_equal(images[worker::2], expected[worker::2])
            assert np.array_equal(labels, expected_labels) and len(images) == len(expected)
    first = [one | other for one, other in zip(*shares, strict=True)]
    assert all(not one & other for one, other in zip(*shares, strict=True))
    assert sum(map(len, first)) == len(dataset.train)  # the four batches of an epoch


def test_devices_share_each_batch_of_a_stream_as_one_of_memory(folder):
    """MirroredStrategy would cut batches of a known size anew, across the ends of epochs."""
    from tensorflow.python.data.experimental.ops.distribute import compute_batch_size
    sizes = set()
    for cache in ("memory", "none"):
        recipe = recipe_of(folder, cache=cache)
        dataset = load_dataset(recipe, (12, 10, 3))
        for batches in (pipeline.training_batches(dataset.train, recipe, 2),
                        pipeline.batches(dataset.validation, 5, 2)):
            sizes.add(int(compute_batch_size(batches)))
    assert sizes == {-1}
