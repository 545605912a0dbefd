"""Parquet files: several that make up a data set, and images that are in them as bytes."""
import io

import numpy as np
import pytest
from PIL import Image

from zoo.errors import UserError
from zoo.training.data.dataset import load_data
from zoo.training.data.image_table import ImageTable
from zoo.training.data.opening import open_source

pyarrow = pytest.importorskip("pyarrow", reason="pip install '.[parquet]'")
parquet = pytest.importorskip("pyarrow.parquet")


def write(to, **columns):
    to.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), to, row_group_size=7)


def png(number):
    data = io.BytesIO()
    pixels = np.full((6, 5, 3), number, "uint8")
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue(), pixels


def test_shards_of_sentences_are_one_data_set(tmp_path):
    texts = [f"sentence number {n}" for n in range(90)]
    labels = [("bad", "good")[n % 2] for n in range(90)]
    for shard in range(3):
        part = slice(30 * shard, 30 * shard + 30)
        write(tmp_path / f"undivided/{shard}.parquet", text=texts[part], label=labels[part])
        name = ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")[shard]
        write(tmp_path / f"divided/{name}.parquet", text=texts[part], label=labels[part])
    for argument in ("undivided", "undivided/*.parquet"):
        source = open_source(str(tmp_path / argument))
        assert source.read(np.arange(90)) == texts and source.splits == {}
        assert [source.class_names[label] for label in source.labels] == labels
    source = open_source(str(tmp_path / "divided"))
    assert {name: source.read(indices) for name, indices in source.splits.items()} == {
        "train": texts[:60], "test": texts[60:]}


def test_a_row_of_a_shard_is_named(tmp_path):
    write(tmp_path / "s/0.parquet", text=["a", "b"], label=["x", "y"])
    write(tmp_path / "s/1.parquet", text=["a", "b"], label=["x", None])
    with pytest.raises(UserError, match=r"1\.parquet, row 2: expected a text and a label"):
        open_source(str(tmp_path / "s")).labels  # noqa: B018
    write(tmp_path / "s/1.parquet", text=["a", "b"], label=["x", "Y"])
    findings = open_source(str(tmp_path / "s")).examine()
    assert any("1.parquet, row 2" in finding.files for finding in findings)


@pytest.mark.parametrize("is_struct", [False, True], ids=["binary", "as Hugging Face writes"])
def test_images_in_parquet_are_those_of_their_bytes(tmp_path, is_struct):
    files = [png(number) for number in range(60)]
    for split, part in (("train", slice(0, 40)), ("test", slice(40, 60))):
        images = [data for data, _ in files[part]]
        if is_struct:
            images = [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(images)]
        write(tmp_path / f"set/{split}-00000-of-00001.parquet", image=images,
              label=[number % 3 for number in range(60)[part]])
    source = open_source(str(tmp_path / "set"))
    assert source.class_names == ["0", "1", "2"]
    for cache in ("memory", "none"):
        data = load_data(str(tmp_path / "set"), (6, 5, 3), cache=cache)
        assert len(data.train) + len(data.validation) == 40
        assert np.array_equal(data.test.examples, [pixels for _, pixels in files[40:]])
        assert list(data.test.labels) == [number % 3 for number in range(40, 60)]
    assert not [each for each in source.examine() if each.severity == "error"]


def test_a_damaged_image_in_parquet_is_named(tmp_path):
    images = [png(number)[0] for number in range(20)]
    images[3] = images[3][:40]
    write(tmp_path / "a.parquet", image=images, label=["x", "y"] * 10)
    with pytest.raises(UserError, match=r"a\.parquet\[3\] cannot be decoded"):
        load_data(str(tmp_path / "a.parquet"), (6, 5, 3), cache="memory")
    data = load_data(str(tmp_path / "a.parquet"), (6, 5, 3), cache="memory", skip_bad=True)
    assert len(data.train) + len(data.validation) + len(data.test) == 19


def test_shards_of_paths_are_relative_to_their_folder(tmp_path):
    for shard in range(2):
        names = []
        for number in range(10):
            names.append(f"{shard}_{number}.png")
            (tmp_path / "set").mkdir(exist_ok=True)
            (tmp_path / "set" / names[-1]).write_bytes(png(10 * shard + number)[0])
        write(tmp_path / f"set/{shard}.parquet", path=names, label=["x", "y"] * 5)
    source = open_source(str(tmp_path / "set"))
    assert isinstance(source, ImageTable)
    assert source.read(np.array([13])) == [png(13)[0]]


def test_tables_of_paths_and_of_bytes_do_not_mix(tmp_path):
    write(tmp_path / "set/0.parquet", image=[png(0)[0]], label=["x"])
    write(tmp_path / "set/1.parquet", image=["a.png"], label=["x"])
    with pytest.raises(UserError, match="some of them hold images"):
        open_source(str(tmp_path / "set"))
