"""A data set in ImageNet's layout: real photographs, prepared by the builder of imagenet2012.

TensorFlow Datasets reads the two archives that ImageNet is given away as; here they hold pieces of
the photographs that come with scikit-learn, under ImageNet's names of files and classes.
"""
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = 10  # of the 1,000 that have images
_SIDES = (180, 400)  # pixels, at least and at most


def _photograph(generator):
    """A piece of one of the photographs, as the bytes of a JPEG."""
    photo = load_sample_images().images[generator.integers(2)]
    height, width = generator.integers(*_SIDES, 2)
    top = generator.integers(0, photo.shape[0] - height)
    left = generator.integers(0, photo.shape[1] - width)
    data = io.BytesIO()
    Image.fromarray(photo[top:top + height, left:left + width]).save(data, "JPEG", quality=85)
    return data.getvalue()


def _archive(members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def prepare(folder: Path, training: int = 60, validation: int = 12) -> Path:
    """Prepare imagenet2012 with so many images; return the folder of TensorFlow Datasets."""
    import tensorflow_datasets as tfds
    generator, manual, data_dir = np.random.default_rng(0), folder / "manual", folder / "tfds"
    builder = tfds.builder("imagenet2012", data_dir=data_dir)
    wordnet = builder.info.features["label"].names
    manual.mkdir(parents=True)
    classes = {}
    for n in range(training):
        label = wordnet[n % CLASSES * len(wordnet) // CLASSES]
        classes.setdefault(label, {})[f"{label}_{n}.JPEG"] = _photograph(generator)
    (manual / "ILSVRC2012_img_train.tar").write_bytes(_archive(
        {f"{label}.tar": _archive(images) for label, images in classes.items()}))
    (manual / "ILSVRC2012_img_val.tar").write_bytes(_archive(
        {f"ILSVRC2012_val_{n:08}.JPEG": _photograph(generator)
         for n in range(1, validation + 1)}))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
    return data_dir
