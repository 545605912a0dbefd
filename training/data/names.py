"""Names of data sets, checked before TensorFlow is imported, which takes seconds.

tfds_names.json lists the data sets that TensorFlow Datasets defines in modules of its own, in one
version or another. They are known only once all of these modules are imported; every other data set
has a folder in the package.
`python -m zoo.training.data.names` writes the list, and a test compares it.
"""
import difflib
import functools
import glob
import importlib.util
import json
import os
import sys
from pathlib import Path

from zoo.errors import UsageError, UserError

PATH = Path(__file__).with_name("tfds_names.json")
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
ARCHIVES = (".zip", ".tar")  # which are read as they are
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_WEB = ("http://", "https://", "ftp://")
_FILE_MARKS = ("\\", ".npz", *TABLES)  # in an argument that can only be a path
_SYNONYMS = {  # what other libraries call a data set
    "agnews": "ag_news_subset", "dogsvscats": "cats_vs_dogs", "fashion": "fashion_mnist",
    "flowers": "tf_flowers", "fmnist": "fashion_mnist", "imagenet": "imagenet2012",
    "imagenet1k": "imagenet2012", "imdb": "imdb_reviews", "pets": "oxford_iiit_pet",
    "sst2": "glue/sst2", "svhn": "svhn_cropped", "yelp": "yelp_polarity_reviews"}


@functools.cache
def tfds_names() -> frozenset[str]:
    """Return the names of TensorFlow Datasets, without a configuration, and that of our own."""
    return frozenset((*json.loads(PATH.read_text(encoding="utf-8")), *_folders(), "ntc_scv"))


def _folders():
    """The names of the data sets that have a folder in the installed package."""
    package = importlib.util.find_spec("tensorflow_datasets")
    homes = package.submodule_search_locations if package else ()
    return [path.name for home in homes or () for path in Path(home, "datasets").glob("[!_]*")]


def _is_builder(name):
    """Whether there is a data set `name`; what a process that imported TFDS registered counts."""
    tfds = sys.modules.get("tensorflow_datasets")
    return name in tfds_names() or bool(
        tfds and name in tfds.list_builders(with_community_datasets=False))


def is_path(argument: str) -> bool:
    """Return whether `argument` names a file or a folder, or can only be meant as one."""
    return Path(argument).exists() or any(mark in argument for mark in _FILE_MARKS) or (
        "/" in argument and not _is_builder(argument.partition("/")[0]))


def is_pattern(argument: str) -> bool:
    """Return whether `argument` is a pattern of files, such as reviews/*.parquet."""
    return not Path(argument).exists() and glob.has_magic(argument) and bool(glob.glob(argument))


def check_name(argument: str, data_dir: str | os.PathLike | None = None) -> None:
    """Raise UserError if `argument` names no data set; the message names the nearest.

    Configurations and versions are left to TensorFlow Datasets.

    Args:
        argument: see `zoo.training.data.opening.open_source`.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.
    """
    path = Path(argument)
    if path.is_file() and not path.name.lower().endswith((".npz", *TABLES, *ARCHIVES)):
        advice = ""
        if path.suffix.lower() in _PACKED:
            advice = " Unpack the archive and name the folder."
        raise UserError(f"{path} is a file. Expected a folder, a .zip or .tar, a table (CSV, TSV "
                        f"or Parquet), or an .npz file.{advice}")
    if argument == "digits" or path.exists() or is_pattern(argument):
        return
    if argument.lower().startswith(_WEB):
        raise UsageError(f"{argument} is a web address. Download and unpack it, and name the "
                         "folder.")
    if "://" in argument:
        return  # what tf.io.gfile opens, such as gs://bucket/photos
    if is_path(argument):
        raise UsageError(f"{argument} does not exist.{_hint(path.name, path.parent)}")
    name = argument.partition("/")[0]
    home = data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    # What is prepared needs no builder. A colon stands before a version, or after a community.
    if ":" not in name and not _is_builder(name) and not Path(home, name).expanduser().is_dir():
        raise no_such_data(argument)


def no_such_data(name: str) -> UsageError:
    """Return the error for a `name` that is neither a path nor a data set."""
    return UsageError(f"No file, folder or data set is named {name!r}.{_hint(name, Path(), True)}")


def _hint(name, folder, sets=False):
    """" Did you mean 'photos'?", of what is in `folder` or, with `sets`, of the data sets too."""
    near = difflib.get_close_matches(
        name, [path.name for path in folder.iterdir()] if folder.is_dir() else [], 1)
    choice = str(folder / near[0]) if near else None
    if not choice and sets:
        plain = {_plain(each): each for each in sorted({"digits", *tfds_names()})}
        plain |= {other: each for other, each in _SYNONYMS.items() if other not in plain}
        found = difflib.get_close_matches(_plain(name), plain, 1, cutoff=0.7)
        choice = plain[found[0]] if found else None
    return f" Did you mean {choice!r}?" if choice else ""


def _plain(name):
    return name.lower().replace("-", "").replace("_", "")


def main() -> None:
    """Write tfds_names.json; names of other versions of TensorFlow Datasets stay in it."""
    import tensorflow_datasets as tfds
    others = {*tfds.list_builders(with_community_datasets=False)} - {*_folders(), "ntc_scv"}
    names = sorted({*json.loads(PATH.read_text(encoding="utf-8")), *others})
    PATH.write_text(json.dumps(names, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
