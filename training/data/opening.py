"""Data sets by name: which kind of source a name or a path stands for.

TensorFlow is imported only for what needs it, so that `zoo doctor --quick` starts without it.
"""
import os
from pathlib import Path

from zoo.errors import UserError
from zoo.startup import quiet_import
from zoo.training.data import names
from zoo.training.data.archive import Archive
from zoo.training.data.image_bytes import ImageBytes
from zoo.training.data.image_folder import ImageFolder
from zoo.training.data.image_table import ImageTable
from zoo.training.data.npz import Npz
from zoo.training.data.sentences import (
    SentenceTable,
    TextFolder,
    check_only_tables,
    holds_bytes,
    is_text_folder,
    list_tables,
    names_files,
)
from zoo.training.data.source import Source


def open_source(argument: str, data_dir: str | os.PathLike | None = None) -> Source:
    """Open the data set that `argument` names. This is the only place that tells kinds apart.

    Args:
        argument: "digits"; the path of an .npz file, of a table of sentences (CSV, TSV or
            Parquet) or of images (their paths or, in Parquet, bytes), of a folder of tables named
            train, validation and test, of a folder or a pattern of Parquet files, or of a folder of
            class folders of images or of .txt files (with train, validation and test above them or
            without), of images also as a .zip or .tar or where tf.io.gfile opens them,
            gs://bucket/photos; or a name of TensorFlow Datasets, such as "mnist" or
            "emnist/letters". What exists as a path is a path.
        data_dir: where TensorFlow Datasets keeps its files; None for its own default.

    Raises:
        zoo.errors.UserError: if there is no such data set, or it is none of labelled images or
            sentences.
    """
    path = Path(argument)
    if argument == "digits":
        with quiet_import():
            from zoo.training.data.digits import Digits
        return Digits()
    names.check_name(argument, data_dir)
    if not names.is_path(argument):
        with quiet_import():
            from zoo.training.data.tfds import open_tfds
        return open_tfds(argument, data_dir)
    if "://" in argument:
        with quiet_import():
            from zoo.training.data.remote import Remote
        return ImageFolder(argument, Remote())
    if path.is_file() and path.suffix.lower() in names.ARCHIVES:
        return ImageFolder(argument, Archive(argument))
    if path.suffix.lower() == ".npz":
        return Npz(argument)
    tables = list_tables(path)
    if tables:
        files = [file for each in tables.values() for file in each]
        if all(file.is_file() and names_files(file) for file in files):
            with_bytes = [file for file in files if holds_bytes(file)]
            if with_bytes and len(with_bytes) < len(files):
                raise UserError(f"{argument}: some of them hold images, such as {with_bytes[0]}, "
                                "and others name files. Expected only one of the two.")
            return (ImageBytes if with_bytes else ImageTable)(argument, tables)
        check_only_tables(path, files)
        return SentenceTable(argument)
    return TextFolder(argument) if is_text_folder(path) else ImageFolder(argument)
