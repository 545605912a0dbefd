"""Sources of data: TensorFlow Datasets, folders of images, .npz files; and their defects."""
import itertools
import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo.errors import UserError
from zoo.training import doctor, recipes
from zoo.training.data import names as data_names
from zoo.training.data.dataset import load_data
from zoo.training.data.opening import open_source
from zoo.training.data.source import ordered_classes
from zoo.training.engine import prepare
from zoo.training.preprocessing.images import decode_or_explain

LOWEST_TFDS = "4.9.9"  # of constraints-lowest.txt


@pytest.mark.slow
def test_mnist_has_the_published_counts_and_statistics(mnist_dir):
    mnist = load_data("mnist", (28, 28, 1), validation_split=0.1, seed=0, data_dir=mnist_dir)
    assert [len(part.labels) for part in (mnist.train, mnist.validation, mnist.test)] == [
        54_000,
        6_000,
        10_000,
    ]
    (mean,), (std,) = mnist.statistics
    assert (mean, std) == (pytest.approx(0.1307, abs=2e-4), pytest.approx(0.3081, abs=2e-4))
    assert mnist.class_names == [str(n) for n in range(10)]
    source = open_source("mnist", mnist_dir)
    indices = np.array([300, 7, 60_001, 7])
    decoded = [decode_or_explain(data)[0][..., :1] for data in source.read(indices)]
    assert np.array_equal(decoded, mnist.test.source.read(indices))
    assert np.array_equal(source.labels, mnist.test.source.labels)


def test_a_misspelt_data_set_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="data set is named 'mnistt'. Did you mean 'mnist'?"):
        load_data("mnistt", (8, 8, 1), data_dir=tmp_path)


def test_a_misspelt_folder_is_answered_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="set is named 'phtos'. Did you mean 'photos'?"):
        load_data("phtos", (8, 8, 1))


@pytest.mark.parametrize("name, words", [
    ("my-photos", "No file, folder or data set is named 'my-photos'.$"),
    ("emnist/letterz", "Unknown data set 'emnist/letterz'. Did you mean 'emnist/letters'?"),
    ("mnist/train", "Unknown data set 'mnist/train'. Did you mean 'mnist'?"),
    ("mnist:1.0.0", "^Dataset mnist cannot be loaded at version 1.0.0, only: "),
])
def test_what_is_no_data_set_is_told_in_a_line(tmp_path, name, words):
    with pytest.raises(UserError, match=words) as raised:
        load_data(name, (8, 8, 1), data_dir=tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name, meant", [
    ("MNIST", "mnist"), ("cifar-10", "cifar10"), ("CIFAR100", "cifar100"), ("imdb", "imdb_reviews"),
    ("fashion-mnist", "fashion_mnist"), ("FashionMNIST", "fashion_mnist"), ("digit", "digits"),
    ("imagenet", "imagenet2012"), ("svhn", "svhn_cropped"), ("sst2", "glue/sst2")])
def test_data_sets_have_the_names_of_other_libraries_too(tmp_path, monkeypatch, name, meant):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"set is named '{name}'. Did you mean '{meant}'[?]$"):
        open_source(name, tmp_path)


def test_every_data_set_of_tensorflow_datasets_is_known_without_its_import():
    """If this fails: make models. TFDS lists them once a process, so a new one is asked."""
    tfds = pytest.importorskip("tensorflow_datasets")
    program = ("import tensorflow_datasets as tfds; "
               "print(*tfds.list_builders(with_community_datasets=False))")
    builders = set(subprocess.run([sys.executable, "-c", program], check=True, text=True,
                                  capture_output=True).stdout.split())
    assert builders | {"ntc_scv"} <= data_names.tfds_names()
    if tfds.__version__ != LOWEST_TFDS:  # which lacks newer data sets
        assert builders | {"ntc_scv"} == data_names.tfds_names()
    assert {each.partition("/")[0] for each in data_names._SYNONYMS.values()} <= builders


def test_a_data_set_of_ones_own_needs_no_place_in_the_list(tmp_path, monkeypatch):
    """Registered by an imported module, or prepared on the disk."""
    tfds = pytest.importorskip("tensorflow_datasets")
    registered = tfds.core.registered
    tfds.list_builders()  # registers all data sets, once: not in the copy, which goes
    monkeypatch.setattr(registered, "_DATASET_REGISTRY", dict(registered._DATASET_REGISTRY))

    class OfOnesOwn(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(4, 4, 1)),
                 "label": tfds.features.ClassLabel(num_classes=2)}))

        def _split_generators(self, manager):
            return {}

        def _generate_examples(self):
            yield from ()
    assert open_source("of_ones_own", tmp_path).native_shape == (4, 4, 1)
    with pytest.raises(UserError, match="named 'prepared'"):
        data_names.check_name("prepared", tmp_path)
    (tmp_path / "prepared").mkdir()
    data_names.check_name("prepared", tmp_path)


def test_a_configuration_of_a_data_set_is_no_folder(tmp_path, monkeypatch):
    assert open_source("emnist/letters", tmp_path).native_shape == (28, 28, 1)
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "emnist/letters/a/1.png")
    assert open_source("emnist/letters", tmp_path).native_shape == (None, None, 3), (
        "what is there goes before"
    )


@pytest.mark.parametrize(
    "name, feature",
    [
        ("wine_quality", "quality (Tensor)"),
        ("lfw", "label (Text)"),
        ("chexpert", "label (Sequence)"),
    ],
)
def test_a_data_set_without_images_of_a_class_each_is_refused(tmp_path, name, feature):
    with pytest.raises(
        UserError,
        match=f"'{name}' has no images or texts with one ClassLabel each; its features are ",
    ) as e:
        load_data(name, (8, 8, 1), data_dir=tmp_path)
    assert feature in str(e.value)


def tfds_set(folder, features, **splits):
    """Store splits, {name: {feature: values}}, as the data set `made` of TensorFlow Datasets."""
    tfds = pytest.importorskip("tensorflow_datasets")
    tfds.dataset_builders.store_as_tfds_dataset(
        "made", "1.0.0", tfds.features.FeaturesDict(features),
        {name: tf.data.Dataset.from_tensor_slices(split) for name, split in splits.items()},
        data_dir=folder, disable_shuffling=True)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_examples_without_a_label_do_not_count(tmp_path, kind):
    tfds = pytest.importorskip("tensorflow_datasets")
    labels = {"train": np.arange(40) % 2, "dev": np.arange(6) % 2, "test": np.full(5, -1)}
    labels["train"][[0, 9]] = -1

    def values(name):
        if kind == "images":
            grey = np.arange(len(labels[name]), dtype="uint8") + 100 * (name == "dev")
            return {"image": np.broadcast_to(grey[:, None, None, None], (len(grey), 4, 4, 1))}
        return {"text": [f"{name} film {n}" for n in range(len(labels[name]))]}
    features = {"image": tfds.features.Image(shape=(4, 4, 1)), "text": tfds.features.Text()}
    name = kind[:-1]
    classes = tfds.features.ClassLabel(names=["a", "e\u0301"])
    tfds_set(tmp_path, {name: features[name], "label": classes},
             **{split: {**values(split), "label": labels[split]} for split in labels})
    lines = []
    dataset = load_data("made", data_dir=tmp_path, say=lines.append)
    numbers = np.delete(np.arange(40), [0, 9])  # a fifth of them is drawn for the test split
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [30, 6, 8]
    if kind == "images":
        grey = [split.examples[:, 0, 0, 0] for split in (dataset.train, dataset.test)]
        assert sorted(np.concatenate(grey)) == numbers.tolist()
        assert dataset.validation.examples[:, 0, 0, 0].tolist() == list(range(100, 106))
        drawn = np.concatenate(grey) % 2
        assert np.concatenate([dataset.train.labels, dataset.test.labels]).tolist() == (
            drawn.tolist())
    else:
        texts = [*dataset.train.raw(np.arange(30)), *dataset.test.raw(np.arange(8))]
        assert sorted(texts) == sorted(b"train film %d" % n for n in numbers)
    assert dataset.validation.labels.tolist() == [0, 1] * 3 and dataset.class_names == ["a", "é"]
    assert any("test" in line and "label" in line and "left out" in line for line in lines)
    assert any("2 of 4" in line and "left out" in line for line in lines)
    assert "no labels" in {finding.kind for finding in doctor.examine("made", tmp_path)}


def picture(path, size=(20, 10), colour=(200, 30, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_folder_of_class_folders_is_read_and_divided(tmp_path):
    for n in range(20):
        picture(tmp_path / "10" / f"a {n}.jpg", colour=(10 * n, 0, 0))
        picture(tmp_path / "9" / ("deep" if n % 2 else "") / f"ß{n}.png", colour=(0, 10 * n, 0))
    (tmp_path / "9" / ".hidden").write_text("no picture")
    dataset = load_data(str(tmp_path), (4, 4, 3), validation_split=0.25)
    assert dataset.class_names == ["9", "10"]
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [24, 8, 8]
    for part in (dataset.train, dataset.validation, dataset.test):
        assert np.bincount(part.labels).tolist() == [len(part) / 2] * 2
        reddish = part.examples[..., 0].mean((1, 2)) > part.examples[..., 1].mean((1, 2))
        assert np.array_equal(reddish, (part.labels == 1) & reddish)


def test_the_order_of_classes_is_total(tmp_path):
    names = ["001", "01", "1", "2", "10", "a", "a1", "a01", "a 2", "9" * 5000]
    ordered = ordered_classes(names)
    for seed in range(100):
        assert ordered_classes(np.random.default_rng(seed).permutation(names)) == ordered
    assert [int(name) for name in ordered if name.isdigit() and len(name) < 9] == [1, 1, 1, 2, 10]
    for name, n in itertools.product(("1", "01", "10", "2"), range(10)):
        picture(tmp_path / name / f"{n}.png", colour=(10 * n, len(name), 0))
    dataset = load_data(str(tmp_path), (4, 4, 3), validation_split=0)
    assert dataset.class_names == ["01", "1", "2", "10"]


@pytest.fixture(params=["digits", "images", "set.npz", "table.csv", "tables", "texts"])
def source(request, tmp_path):
    for split, n in itertools.product(("train", "test"), range(6)):
        picture(tmp_path / "images" / split / f"c{n % 2}" / f"{n}.png", colour=(40 * n, 0, 0))
        text = tmp_path / "texts" / split / f"c{n % 2}" / f"{n}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(f"{split} {n}")
    (tmp_path / "tables").mkdir()
    for name in ("table.csv", "tables/train.csv", "tables/test.csv"):
        rows = [f"{name} {n},c{n % 2}\n" for n in range(6)]
        (tmp_path / name).write_text("text,label\n" + "".join(rows))
    images, labels = np.arange(6 * 16, dtype="uint8").reshape(6, 4, 4), np.arange(6) % 2
    np.savez(
        tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images + 99, y_test=labels
    )
    return open_source(
        request.param if request.param == "digits" else str(tmp_path / request.param)
    )


def test_a_source_is_read_by_index_in_any_order(source):
    count = len(source)
    assert source.labels.dtype == np.int32 and source.labels.shape == (count,)
    assert 0 <= source.labels.min() and source.labels.max() < len(source.class_names)
    whole, indices = source.read(np.arange(count)), np.random.default_rng(0).permutation(count)
    assert all(np.array_equal(whole[index], example)
               for index, example in zip(indices, source.read(indices), strict=True))
    assert len({bytes(example) if source.kind == "image" else example for example in whole}) > 5
    if source.splits:
        assert sorted(np.concatenate(list(source.splits.values()))) == list(range(count))


def test_given_parts_are_kept(tmp_path):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for label in ("cat", "dog"):
            for n in range(count):
                picture(tmp_path / split / label / f"{n}.png")
    dataset = load_data(str(tmp_path), (4, 4, 3))
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [6, 4, 2]


@pytest.mark.parametrize("kind", ["folder", "arrays"])
def test_a_test_part_alone_is_for_scoring(tmp_path, kind):
    name = tmp_path / ("set.npz" if kind == "arrays" else "set")
    for n in range(6):
        picture(tmp_path / "set/test" / str(n % 2) / f"{n}.png")
    np.savez(tmp_path / "set.npz", x_test=np.zeros((6, 16, 16), "uint8"), y_test=np.arange(6) % 2)
    dataset = load_data(str(name), (4, 4, 3))
    assert (len(dataset.train), dataset.validation, len(dataset.test)) == (0, None, 6)
    with pytest.raises(
        UserError, match=f"^{name} has no training split. `zoo evaluate RUN --data {name}`"
    ):
        prepare.prepare(recipes.Recipe("r", "lenet5", str(name), normalize=True))
    (tmp_path / "set/test").rename(tmp_path / "set/val")
    if kind == "folder":
        with pytest.raises(
            UserError, match="set: expected a train or a test split. Received: validation."
        ):
            load_data(str(name), (4, 4, 3))


@pytest.fixture
def photos(tmp_path):
    """20 images of each of two classes in train."""
    for name, n in itertools.product(("a", "b"), range(20)):
        picture(tmp_path / f"photos/train/{name}/{n}.png", colour=(10 * n, 9 * (name == "a"), 0))
    return tmp_path / "photos"


@pytest.mark.parametrize("others", [0, 3])
def test_images_in_no_class_folder_are_refused_or_left_out_with_a_line(photos, others, tmp_path):
    for n in range(others):
        picture(photos / "test/a" / f"{n}.png", colour=(n, 7, 7))
        picture(photos / "test/b" / f"{n}.png", colour=(n, 9, 9))
    picture(photos / "test/loose.png"), picture(photos / "test/more.JPG")
    with pytest.raises(UserError, match="an image in no class folder, which has no label; such as "
                                        f"{photos}/test/loose.png"):
        load_data(str(photos), (4, 4, 3))
    lines = []
    dataset = load_data(str(photos), (4, 4, 3), skip_bad=True, say=lines.append)
    assert len(dataset.test) == (2 * others or 8)
    assert any("no class folder: 2 files, such as" in line for line in lines)
    findings = doctor.examine(str(photos))
    assert (findings[0].kind, findings[0].severity, len(findings[0].files)) == (
        "no class", "error", 2)
    assert doctor.move_bad_files(findings, str(photos), str(tmp_path / "aside")) == 2
    picture(photos / "overview.png")
    load_data(str(photos), (4, 4, 3), say=lines.append)
    assert any("1 files, such as" in line and str(photos / "overview.png") in line
               for line in lines)  # a slow machine adds lines on progress
    notes = [finding for finding in doctor.examine(str(photos)) if finding.kind == "no labels"]
    assert [finding.severity for finding in notes] == ["note"]


def test_links_are_followed_and_those_to_nothing_are_named(photos, tmp_path):
    for n in range(5):
        picture(tmp_path / "elsewhere/deep" / f"{n}.png", colour=(10 * n, 90, 90))
    a = photos / "train/a"
    (a / "link").symlink_to(tmp_path / "elsewhere")
    (a / "again").symlink_to(tmp_path / "elsewhere/deep")
    (a / "loop").symlink_to(a)
    (a / "up").symlink_to("..")
    (tmp_path / "elsewhere/deep/back").symlink_to(tmp_path / "elsewhere")
    dataset = load_data(str(photos), (4, 4, 3), validation_split=0)
    assert np.bincount(np.concatenate([dataset.train.labels, dataset.test.labels])).tolist() == [
        25, 20]
    (a / "gone.png").symlink_to(tmp_path / "gone.png"), (a / "self.png").symlink_to(a / "self.png")
    with pytest.raises(UserError, match=f"cannot be read from the disk; such as {a}/gone.png"):
        load_data(str(photos), (4, 4, 3))
    dataset = load_data(str(photos), (4, 4, 3), validation_split=0, skip_bad=True)
    assert len(dataset.train) + len(dataset.test) == 45
    findings = {finding.kind: finding for finding in doctor.examine(str(photos))}
    assert [path.rpartition("/")[2] for path in findings["unreadable"].files] == [
        "gone.png", "self.png"]
    (photos / "train/c").symlink_to("/mnt/not mounted")
    with pytest.raises(UserError, match="train/c is a link to /mnt/not mounted, which cannot be"):
        load_data(str(photos), (4, 4, 3))


def test_tables_beside_class_folders_are_refused(photos):
    (photos / "Train.csv").write_text("text,label\na,1\nb,2\n")
    with pytest.raises(UserError, match="has both the table Train.csv and the folder train of ex"):
        open_source(str(photos))
    assert open_source(str(photos / "Train.csv")).kind == "text"
    texts = photos.parent / "texts"
    for name in ("good", "bad"):
        (texts / name).mkdir(parents=True)
        (texts / name / "1.txt").write_text("a film")
    (texts / "train.tsv").write_text("text\tlabel\na\t1\nb\t2\n")
    with pytest.raises(UserError, match="has both the table train.tsv and the folder bad of examp"):
        open_source(str(texts))
    (texts / "good/1.txt").unlink()  # notes, or word vectors
    assert open_source(str(texts)).kind == "text"


def test_texts_in_no_class_folder_are_refused_or_left_out_with_a_line(tmp_path):
    for name, n in itertools.product(("good", "bad"), range(20)):
        path = tmp_path / "train" / name / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"film {n}")
    (tmp_path / "train/urls.txt").write_text("films")
    lines = []
    assert len(load_data(str(tmp_path), say=lines.append).test) == 8
    assert lines == ["Left out, as they are in no class folder: 1 files, such as "
                     f"{tmp_path}/train/urls.txt"]
    (tmp_path / "test").mkdir()
    (tmp_path / "test/1.txt").write_text("film 3")
    with pytest.raises(UserError, match="test/1.txt is in no class folder; expected .*/test/CLASS"):
        load_data(str(tmp_path))


def test_a_broken_file_ends_in_its_path_or_is_left_out(tmp_path):
    for n in range(12):
        picture(tmp_path / "a" / f"{n}.png")
        picture(tmp_path / "b" / f"{n}.png")
    broken = tmp_path / "b" / "7.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(
        UserError,
        match=f"{broken} cannot be decoded. `zoo doctor {tmp_path}` says what is wrong; skip_bad",
    ):
        load_data(str(tmp_path), (4, 4, 3))
    told = []
    dataset = load_data(str(tmp_path), (4, 4, 3), skip_bad=True, say=told.append)
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 23
    assert any("1 files that cannot be decoded are left out" in line for line in told)


@pytest.mark.parametrize(
    "name, words", [("empty", "has no class folders"), ("gone/x", "gone/x does not exist.$")]
)
def test_a_folder_without_images_is_explained(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        load_data(str(tmp_path / name), (4, 4, 3))


def test_too_few_images_to_set_some_aside_are_explained(tmp_path):
    np.savez(tmp_path / "few.npz", images=np.zeros((3, 4, 4), "uint8"), labels=np.array([0, 0, 1]))
    with pytest.raises(UserError, match="Cannot set 20% of 3 examples aside by class"):
        load_data(str(tmp_path / "few.npz"), (4, 4, 1))


def test_a_quick_look_refuses_before_anything_is_decoded(tmp_path):
    for n in range(5):
        picture(tmp_path / "a" / f"{n}.png"), picture(tmp_path / "A " / f"{n}.png")
    with pytest.raises(
        UserError,
        match=f"{tmp_path}: labels that differ in case.*`zoo doctor {tmp_path}` says more",
    ):
        load_data(str(tmp_path), (4, 4, 3))


def test_letters_of_either_case_are_classes_of_their_own(tmp_path):
    for n in range(10):
        picture(tmp_path / "a" / f"{n}.png"), picture(tmp_path / "A" / f"{n}.png")
    assert load_data(str(tmp_path), (4, 4, 3), validation_split=0).class_names == ["A", "a"]


def test_a_name_that_is_no_utf8_is_read(tmp_path):
    for n in range(10):
        picture(tmp_path / "a" / f"{n}.png"), picture(tmp_path / "b" / f"{n}.png")
    os.rename(tmp_path / "a/0.png", os.fsencode(tmp_path / "a") + b"/caf\xe9.png")
    assert len(load_data(str(tmp_path), (4, 4, 3), validation_split=0).train) == 16


def test_a_class_folder_that_is_no_utf8_is_refused(tmp_path):
    for n in range(10):
        picture(tmp_path / "a" / f"{n}.png"), picture(tmp_path / "b" / f"{n}.png")
    os.rename(tmp_path / "b", os.fsencode(tmp_path) + b"/caf\xe9")
    data = str(tmp_path)
    for read in (lambda: load_data(data, (4, 4, 3)), lambda: doctor.examine(data)):
        with pytest.raises(UserError, match=r"of the class folder b'caf\\xe9' in") as raised:
            read()
        str(raised.value).encode()


@pytest.mark.parametrize("feature, values, words", [
    ("image", np.zeros((10, 4, 4), "uint8"),
     r"^The images of the data set 'made' must be \(height, width, 1 or 3\). Received: Tensor of "
     r"shape \(4, 4\), uint8.$"),
    ("image", np.zeros((10, 4, 4, 4), "uint8"), r"Received: Tensor of shape \(4, 4, 4\), uint8"),
    ("text", np.zeros((10, 3), "int64"), r"must be one string each. Received: .* \(3,\), int64"),
    ("text", [b"caf\xe9"] * 10, "made: record 0 of the split train is not UTF-8"),
])
def test_features_that_are_no_images_or_texts_end_in_a_line(tmp_path, feature, values, words):
    tfds = pytest.importorskip("tensorflow_datasets")
    kind = tfds.features.Text()
    if isinstance(values, np.ndarray):
        kind = tfds.features.Tensor(shape=values.shape[1:], dtype=values.dtype)
    tfds_set(tmp_path, {feature: kind, "label": tfds.features.ClassLabel(names=["a", "b"])},
             train={feature: values, "label": np.arange(10) % 2})
    for read in (lambda: load_data("made", (4, 4, 3), data_dir=tmp_path),
                 lambda: doctor.examine("made", tmp_path)):
        with pytest.raises(UserError, match=words):
            read()


def test_arrays_in_a_file_are_read(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6)).astype("uint8")
    np.savez(
        tmp_path / "valid.npz",
        x_train=images,
        y_train=np.arange(40) % 2,
        x_valid=images[:7],
        y_valid=np.arange(7) % 2,
    )
    assert len(load_data(str(tmp_path / "valid.npz"), (6, 6, 1)).validation) == 7
    arrays = {"images": images, "labels": np.arange(40) % 2, "val_images": images[:9],
              "val_labels": np.arange(9) % 2, "test_images": images[5:], "ids": np.arange(40)}
    np.savez(tmp_path / "named.npz", **arrays, test_labels=np.arange(5, 40) % 2)
    dataset = load_data(str(tmp_path / "named.npz"), (6, 6, 1))
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [40, 9, 35]
    assert np.array_equal(dataset.test.examples[..., 0], images[5:])
    np.savez(
        tmp_path / "set.npz",
        x_train=images,
        y_train=np.arange(40) % 2,
        x_test=images[:10],
        y_test=np.arange(10) % 2,
    )
    dataset = load_data(str(tmp_path / "set.npz"), (6, 6, 1), validation_split=0)
    assert np.array_equal(dataset.train.examples[..., 0], images) and dataset.class_names == [
        "0",
        "1",
    ]
    assert np.array_equal(dataset.test.labels, np.arange(10) % 2)


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x_train": np.zeros((4, 6)), "y_train": np.zeros(4, int)}, "must be .n, height, width"),
        (
            {"x_train": np.zeros((4, 6, 6)), "y_train": np.zeros(3, int)},
            "must be 4 integers from 0 up",
        ),
        (
            {"x_train": np.full((4, 6, 6), 0.5), "y_train": np.zeros(4, int)},
            "x_train in .*: values from 0.5 to 0.5, expected 0 to 255: multiply them by 255",
        ),
        (
            {"x_train": np.full((4, 6, 6), np.nan), "y_train": np.zeros(4, int)},
            "x_train in .*: values that are not finite, expected 0 to 255",
        ),
        (
            {
                "x_train": np.zeros((4, 6, 6)),
                "y_train": np.zeros(4, int),
                "x_val": np.zeros((0, 6, 6)),
                "y_val": np.zeros(0, int),
            },
            "x_val in .* n at least 1. Received: .0, 6, 6, 1.",
        ),
        (
            {
                "x_train": np.zeros((4, 6, 6)),
                "y_train": np.zeros(4, int),
                "x_test": np.zeros((2, 6, 6)),
            },
            "has x_test, but not the array that belongs to it",
        ),
        (
            {
                "x_train": np.zeros((4, 6, 6)),
                "y_train": np.zeros(4, int),
                "X_test": np.zeros((2, 6, 6)),
                "Y_test": np.zeros(2, int),
            },
            "has X_test, but not the array that belongs to it, or the name is unknown. "
            "Expected pairs of x_train, ",
        ),
        (
            {"x_train": np.full((4, 6, 6), "dog"), "y_train": np.arange(4)},
            r"x_train in .* must be numbers. Received: <U3 \(4, 6, 6\).",
        ),
        ({"x_train": np.array("dogs"), "y_train": np.arange(4)}, "must be numbers. Received: <U4 "),
        (
            {"x_train": np.zeros((2, 6, 6)), "y_train": np.array(["dog", "cat"])},
            r"y_train in .* must be 2 integers from 0 up. Received: <U3",
        ),
        (
            {"images": np.zeros((4, 6, 6)), "labels": np.zeros(4, int), "test_images": np.ones(1)},
            "has test_images, but not the array that belongs to it",
        ),
        (
            {
                "images": np.zeros((4, 6, 6)),
                "labels": np.zeros(4, int),
                "images_test": np.ones((1, 6, 6)),
            },
            "has images_test, but not the array that belongs to it, or the name is unknown.",
        ),
        (
            {
                "images": np.zeros((4, 6, 6)),
                "labels": np.zeros(4, int),
                "x_train": np.zeros((4, 6, 6)),
                "y_train": np.zeros(4, int),
            },
            "has more than one train split: x_train, images. Expected one of them.",
        ),
        (
            {"x_train": np.zeros((4, 6, 6)), "y_train": np.arange(4) + 2**32},
            "below 1,000,000. Received: 4,294,967,299",
        ),
        (
            {"foo": np.zeros(3)},
            "needs the arrays x_train and y_train, or images and labels. It has: foo",
        ),
    ],
)
def test_arrays_that_will_not_do_are_explained(tmp_path, arrays, words):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(UserError, match=words):
        load_data(str(tmp_path / "set.npz"), (6, 6, 1))


def test_a_file_of_no_arrays_is_not_taken_for_a_pickle(tmp_path):
    (tmp_path / "set.npz").write_bytes(b"PK, but no archive")
    with pytest.raises(UserError, match="Cannot read .*set.npz as .npz: File is not a zip file."):
        load_data(str(tmp_path / "set.npz"), (6, 6, 1))


def test_arrays_may_name_their_classes(tmp_path):
    images, labels = np.arange(40 * 36, dtype="uint8").reshape(40, 6, 6), np.arange(40) % 2
    for names, found in (
        (("cat", "dog"), ["cat", "dog"]),
        (("cat", "dog", "owl"), ["cat", "dog", "owl"]),
    ):
        np.savez(tmp_path / "set.npz", images=images, labels=labels, class_names=names)
        assert load_data(str(tmp_path / "set.npz"), (6, 6, 1)).class_names == found
    decomposed = [unicodedata.normalize("NFD", name) for name in ("Tích cực", "Tiêu cực")]
    np.savez(tmp_path / "set.npz", images=images, labels=labels, class_names=decomposed)
    assert load_data(str(tmp_path / "set.npz"), (6, 6, 1)).class_names == ["Tích cực", "Tiêu cực"]
    for names in (["cat"], ["cat", "cat"]):
        np.savez(tmp_path / "set.npz", images=images, labels=labels, class_names=names)
        with pytest.raises(
            UserError, match=f"at least 2 different names. Received: {', '.join(names)}."
        ):
            load_data(str(tmp_path / "set.npz"), (6, 6, 1))
