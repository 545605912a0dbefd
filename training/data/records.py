"""The records of a split of TensorFlow Datasets, by number: of TFRecord and ArrayRecord files."""
import functools
import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

_CHUNK = 1024       # records parsed at a time
_HEADER, _FOOTER = 12, 4  # bytes around a record of a TFRecord file: length and checksums
_BUFFER = 1 << 23   # bytes read at a time


class Records:
    """The serialized examples of a split; its files are read once, to index them.

    Args:
        files: the paths of its shards.
        counts: the number of records in each.
        is_array_record: whether they are ArrayRecord files, which have an index of their own.

    Attributes:
        labels: int32 of shape (n,), of the feature "label".
        sizes: int64 of shape (n,), the bytes of each record.

    Raises:
        tf.errors.OpError: if a file cannot be read or is damaged.
    """

    def __init__(self, files: list[str], counts: list[int], is_array_record: bool):
        self._files, self._is_array_record = files, is_array_record
        self._firsts = np.cumsum([0, *counts])
        sizes, labels = [], []
        for batch in self._serialized():
            features = tf.io.parse_example(batch, {"label": tf.io.FixedLenFeature((), tf.int64)})
            labels.append(features["label"].numpy())
            sizes.append(tf.strings.length(batch).numpy())
        self.labels = np.concatenate(labels).astype("int32") if labels else np.zeros(0, "int32")
        self.sizes = np.concatenate(sizes).astype("int64") if sizes else np.zeros(0, "int64")
        if len(self.labels) != self._firsts[-1]:
            raise tf.errors.DataLossError(None, None, f"{len(self.labels)} records")
        self._offsets = np.empty_like(self.sizes)
        for first, last in zip(self._firsts[:-1], self._firsts[1:], strict=True):
            ends = np.cumsum(self.sizes[first:last] + _HEADER + _FOOTER)
            self._offsets[first:last] = ends - self.sizes[first:last] - _FOOTER

    def __len__(self) -> int:
        return len(self.labels)

    def _serialized(self) -> Iterator[tf.Tensor]:
        if not self._is_array_record:
            yield from tf.data.TFRecordDataset(self._files, buffer_size=_BUFFER).batch(
                _CHUNK).prefetch(2)
            return
        for file, first, last in zip(self._files, self._firsts[:-1], self._firsts[1:],
                                     strict=True):
            for start in range(0, int(last - first), _CHUNK):
                end = min(start + _CHUNK, int(last - first))
                yield tf.constant(_reader(file).read(start, end))

    def read(self, index: int) -> bytes:
        """Return the serialized tf.train.Example `index`."""
        shard = int(np.searchsorted(self._firsts, index, "right")) - 1
        if self._is_array_record:
            return _reader(self._files[shard]).read([int(index - self._firsts[shard])])[0]
        with _open(self._files[shard]) as file:
            file.seek(int(self._offsets[index]))
            return file.read(int(self.sizes[index]))


def _open(path):
    if os.path.exists(path):
        return open(path, "rb", buffering=0)
    return tf.io.gfile.GFile(path, "rb")  # gs://, for example


@functools.lru_cache(256)  # each has a file open
def _reader(path):
    from array_record.python.array_record_module import ArrayRecordReader  # with TFDS
    return ArrayRecordReader(path)


def first_bytes(record: bytes, feature: str) -> bytes:
    """Return the first string of a feature of a serialized tf.train.Example."""
    example = tf.train.Example.FromString(record)
    return example.features.feature[feature].bytes_list.value[0]
