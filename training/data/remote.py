"""Folders that TensorFlow opens by their address, such as gs://bucket/photos."""
from pathlib import Path

import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data.checks.image_files import SUFFIXES
from zoo.training.data.image_folder import Folders, join
from zoo.training.data.source import is_hidden


class Remote(Folders):
    """Folders that tf.io.gfile opens, such as gs://bucket/photos."""

    def root(self, folder: str) -> str:
        return folder.rstrip("/")

    def scan(self, folder: str) -> tuple[list[str], list[str]]:
        try:
            names = tf.io.gfile.listdir(folder)
        except tf.errors.OpError as error:
            raise UserError(f"Cannot read the folder {folder}: {error.message}.") from None
        folders, files = [], []
        for name in names:
            bare = name.rstrip("/")
            if not bare or is_hidden(bare):
                continue
            # To ask is a request for each file.
            is_file = not name.endswith("/") and Path(bare).suffix.lower() in SUFFIXES
            if is_file or not tf.io.gfile.isdir(join(folder, bare)):
                files.append(bare)
            else:
                folders.append(bare)
        return sorted(folders), sorted(files)

    def real(self, folder: str) -> str:
        return folder

    def check(self, folder: str, files: list[str]) -> None:
        """Accept all: there are no links."""

    def size(self, path: str) -> int:
        return -1  # to ask is a request for each file

    def read(self, path: str) -> bytes:
        try:
            return tf.io.read_file(path).numpy()
        except tf.errors.OpError:
            return b""
