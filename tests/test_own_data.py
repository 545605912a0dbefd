"""Folders and tables as people have them: read, or refused in one line that says what to do."""

import gzip
import os
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo.errors import UserError
from zoo.training import examine, load_data
from zoo.training.data.opening import open_source
from zoo.training.preprocessing import pillow_images
from zoo.training.preprocessing.images import decode_or_explain

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80)


def folder_of(tmp_path, grey=(), size=(9, 12), count=12):
    """12 noise images in each of the class folders a and b of tmp_path / "photos"."""
    noise = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(count):
            image = Image.fromarray(noise.integers(0, 256, (*size, 3), "uint8"))
            image.convert("L" if name in grey else "RGB").save(
                tmp_path / "photos" / name / f"{n}.png")
    return tmp_path / "photos"


def kinds(folder):
    return {finding.kind: finding for finding in examine(str(folder))}


def test_what_systems_leave_in_folders_does_not_count(tmp_path):
    folder = folder_of(tmp_path)
    for place in (folder, folder / "a", folder / "b"):
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "Icon\r"):
            (place / name).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX/a").mkdir(parents=True)
    (folder / "__MACOSX/a/._0.png").write_bytes(b"\0\5\x16\7")
    source = open_source(str(folder))
    assert source.class_names == ["a", "b"] and len(source) == 24
    assert all(finding.severity == "note" for finding in kinds(folder).values())


def test_a_dead_link_is_named(tmp_path):
    folder = folder_of(tmp_path)
    os.symlink(tmp_path / "nowhere.png", folder / "a/dead.png")
    with pytest.raises(UserError, match="cannot be read from the disk; such as .*a/dead.png"):
        load_data(str(folder), (4, 4, 3))


@pytest.mark.parametrize("brand", [b"heic", b"avif", b"mif1"])
def test_heic_and_avif_are_refused_with_the_line_that_converts(tmp_path, brand):
    folder, data = folder_of(tmp_path), HEIC.replace(b"heic", brand)
    (folder / "a/new.jpg").write_bytes(data)
    line = "a HEIC or AVIF image: convert it to JPEG, as by `magick photo.heic photo.jpg`"
    with pytest.raises(UserError, match=line):
        load_data(str(folder), (4, 4, 3))
    assert line in kinds(folder)["unsupported"].message
    assert decode_or_explain(data)[1] == line
    with pytest.raises(UserError, match=line):
        pillow_images.decode(data)


@pytest.mark.parametrize("name, advice", [
    ("photos.tar.gz", r" Unpack the archive and name the folder.$"),
    ("photos.rar", r" Unpack the archive and name the folder.$"), ("photos.jpg", "npz file.$")])
def test_a_file_is_no_folder(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UserError, match=f"{name} is a file. Expected a folder, .*{advice}"):
        open_source(str(tmp_path / name))


@pytest.mark.parametrize("grey, reported", [("a", True), ("ab", False), ("", False)])
def test_a_grey_class_beside_a_coloured_one_is_reported(tmp_path, grey, reported):
    found = kinds(folder_of(tmp_path, grey))
    assert ("grey class" in found) == reported
    if reported:
        assert found["grey class"].message.startswith(
            "the images of 'a' are grey, those of 'b' coloured")


@pytest.mark.parametrize("size, reported", [((30, 10), True), ((10, 20), True), ((9, 16), False)])
def test_elongated_images_bring_the_advice_to_crop_or_pad(tmp_path, size, reported):
    found = kinds(folder_of(tmp_path, size=size))
    assert ("elongated" in found) == reported
    if reported:
        assert "24 images" in found["elongated"].message
        assert "resize=crop and resize=pad keep proportions" in found["elongated"].message


def test_a_stray_table_beside_class_folders_does_not_matter(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "notes.csv").write_text("text,label\na,b\n")
    assert open_source(str(folder)).kind == "image"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_may_have_semicolons(tmp_path, delimiter):
    file = tmp_path / "reviews.csv"
    rows = [("text", "label"), ("good, all in all", "1"), ("bad; \"very\"", "0")]
    lines = [delimiter.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row)
             for row in rows]
    file.write_text("\n".join(lines))
    source = open_source(str(file))
    assert source.read(np.arange(2)) == ["good, all in all", "bad; \"very\""]
    assert source.class_names == ["0", "1"]


@pytest.mark.parametrize("head", ["path,label", "filename;class", "label\timage", "id,img,label"])
def test_a_table_of_image_files_is_the_folder_that_it_lists(tmp_path, head):
    folder, delimiter = folder_of(tmp_path), next(each for each in ",;\t" if each in head)
    columns = head.split(delimiter)
    cells = {columns[-2]: "path", columns[-1]: "label"}
    if columns[0] == "label":
        cells = {"label": "label", "image": "path"}
    lines = [head, *(delimiter.join({"path": f"{label}/{n}.png", "label": label}.get(
        cells.get(column), "7") for column in columns) for label in "ab" for n in range(12))]
    file = folder / "list.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    table, whole = load_data(str(file), (4, 4, 3)), load_data(str(folder), (4, 4, 3))
    assert table.class_names == whole.class_names
    everything = [sorted((bytes(image), int(label)) for split in (
        each.train, each.validation, each.test) for image, label in zip(
            split.examples, split.labels, strict=True)) for each in (table, whole)]
    assert everything[0] == everything[1]
    parquet, pandas = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pandas")
    rows = pandas.read_csv(file, sep=delimiter, dtype=str)
    parquet.write_table(pytest.importorskip("pyarrow").Table.from_pandas(rows),
                        folder / "list.parquet")
    stored = load_data(str(folder / "list.parquet"), (4, 4, 3))
    assert np.array_equal(stored.train.examples, table.train.examples)
    with open(file, "a", encoding="utf-8") as more:
        more.write("\n" + lines[-1].replace("11.png", "gone.png"))
    with pytest.raises(UserError, match="cannot be read from the disk; such as .*b/gone.png"):
        load_data(str(file), (4, 4, 3))


def packed(folder, name):
    """An archive of a folder, with its own folder around the classes."""
    if name.endswith("zip"):
        with zipfile.ZipFile(folder.parent / name, "w") as file:
            for number, path in enumerate(sorted(folder.rglob("*"))):
                method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                file.write(path, path.relative_to(folder.parent), method)
    else:
        with tarfile.open(folder.parent / name, "w") as file:
            file.add(folder, f"./{folder.name}")
    return str(folder.parent / name)


def in_ram(folder, name):
    for path in sorted(folder.rglob("*.png")):
        target = f"{name}/{path.relative_to(folder)}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        with tf.io.gfile.GFile(target, "wb") as file:
            file.write(path.read_bytes())
    return name


@pytest.mark.parametrize("cache", ["memory", "none"])
@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "ram://photos"])
def test_an_archive_is_the_folder_that_it_holds(tmp_path, name, cache):
    folder = folder_of(tmp_path)
    for place in ("deep", ".hidden", "__MACOSX"):
        (folder / "a" / place).mkdir()
        (folder / "a" / place / "more.png").write_bytes((folder / "a/0.png").read_bytes())
    argument = in_ram(folder, name) if "://" in name else packed(folder, name)
    archive, whole = load_data(argument, (4, 4, 3), cache=cache), load_data(str(folder), (4, 4, 3))
    assert archive.class_names == whole.class_names == ["a", "b"]
    for split in ("train", "validation", "test"):
        one, other = getattr(archive, split), getattr(whole, split)
        assert np.array_equal(one.examples, other.examples) and len(other)
        assert np.array_equal(one.labels, other.labels)
    found = {finding.kind for finding in examine(argument)}
    assert found == set(kinds(folder)) and "duplicates" in found


def test_damaged_archives_end_in_a_line(tmp_path):
    for name, data in (("a.zip", b"PK"), ("b.tar", b"no"), ("c.tar", gzip.compress(b"a" * 999))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"^Cannot read .*{name}: .*") as raised:
            open_source(str(tmp_path / name))
        assert "\n" not in str(raised.value)
    name = packed(folder_of(tmp_path), "photos.zip")
    data = bytearray((tmp_path / "photos.zip").read_bytes())
    data[len(data) // 3:len(data) // 3 + 60] = bytes(60)
    (tmp_path / "photos.zip").write_bytes(data)
    with pytest.raises(UserError, match="cannot be read from the disk|cannot be decoded"):
        load_data(name, (4, 4, 3))


LABELS = {
    "several labels": (["action", "drama", "action,drama"],
                       "labels such as 'action,drama' name several classes; more than one label"),
    "number labels": (["0.5", "1", "4.5"], "labels such as 0.5 and 4.5 are numbers; predicting"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_other_tasks_are_errors_unless_they_are_meant(tmp_path, kind):
    labels, message = LABELS[kind]
    file = tmp_path / "films.csv"
    file.write_text("text,label\n" + "".join(
        f'"film {n} {label}","{label}"\n' for n in range(20) for label in labels))
    with pytest.raises(UserError, match=message) as caught:
        load_data(str(file))
    assert kinds(file)[kind].severity == "error"
    classes = str(caught.value).partition("write them into ")[2].partition(",")[0]
    with open(classes, "w") as written:
        written.write("\n".join(labels))
    assert load_data(str(file)).class_names == sorted(labels)


@pytest.mark.parametrize("labels", [["Paris, France", "Rome, Italy"], ["1", "2", "10"],
                                    ["1.0", "2.0"], ["v1.5", "v2"], ["a|b", "c"]])
def test_other_labels_are_none(tmp_path, labels):
    file = tmp_path / "films.csv"
    file.write_text("text,label\n" + "".join(
        f'"film {n} {label}","{label}"\n' for n in range(20) for label in labels))
    assert set(load_data(str(file)).class_names) == set(labels)
