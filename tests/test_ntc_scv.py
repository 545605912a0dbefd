"""The builder of NTC-SCV: TensorFlow Datasets' own test case, and archives from a web server."""
import functools
import http.server
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from zoo.training.data import ntc_scv

pytest.importorskip("dill", reason="tensorflow_datasets.testing needs dill: pip install dill")

REVIEWS = {"train": ("data_train/data_train/train", ["quán ngon", "phở rất ngon", "sẽ quay_lại"]),
           "validation": ("data_train/data_train/test", ["bún_chả tuyệt_vời", "đồ_ăn nguội"]),
           "test": ("data_test/data_test/test", ["trà sữa ngọt quá"])}


def write(folder):
    """The unpacked archives in `folder`: each review, and its negation in neg."""
    for place, texts in REVIEWS.values():
        for label, prefix in (("pos", ""), ("neg", "không ")):
            (Path(folder) / place / label).mkdir(parents=True)
            for number, text in enumerate(texts):
                (Path(folder) / place / label / f"{number}.txt").write_text(
                    f"{prefix}{text}\n", encoding="utf-8"
                )


def test_it_downloads_unpacks_and_reads_the_archives(tmp_path, monkeypatch):
    write(tmp_path)
    for name in ("data_train", "data_test"):
        shutil.make_archive(tmp_path / name, "zip", tmp_path / name)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(ntc_scv, "_URL", f"http://127.0.0.1:{server.server_port}/")
        read = tfds.load("ntc_scv", data_dir=tmp_path / "tfds")
        server.shutdown()
    for part, (_, texts) in REVIEWS.items():
        found = sorted(
            (row["text"].decode(), int(row["label"])) for row in tfds.as_numpy(read[part])
        )
        assert found == sorted(
            [(text, 1) for text in texts] + [(f"không {text}", 0) for text in texts]
        )


def test_tfds_own_test_case_still_lacks_dill():
    """If this fails, TensorFlow Datasets declares dill: drop it from the extra `dev`."""
    from importlib.metadata import requires

    assert not [
        line
        for line in requires("tensorflow-datasets")
        if line.startswith("dill") and "extra" not in line
    ]


class TestNtcScv(tfds.testing.DatasetBuilderTestCase):
    """What TensorFlow Datasets demands of every builder."""

    DATASET_CLASS = ntc_scv.NtcScv
    SPLITS = {part: 2 * len(texts) for part, (_, texts) in REVIEWS.items()}
    DL_EXTRACT_RESULT = {"data_train": "data_train", "data_test": "data_test"}
    SKIP_CHECKSUMS = True  # those of the archives are not known

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        write(cls.EXAMPLE_DIR)
        super().setUpClass()
