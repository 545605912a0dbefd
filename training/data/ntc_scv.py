"""NTC-SCV, restaurant reviews in Vietnamese, as a data set of TensorFlow Datasets.

Importing this module registers the builder, so that `tfds.load("ntc_scv")` finds it. The two
archives come from its authors, https://github.com/congnghia0609/ntc-scv (Apache-2.0).
"""
from pathlib import Path

import tensorflow_datasets as tfds

_URL = "https://github.com/congnghia0609/ntc-scv/raw/master/data/"
_SPLITS = {"train": ("data_train", "train"), "validation": ("data_train", "test"),
           "test": ("data_test", "test")}


class NtcScv(tfds.core.GeneratorBasedBuilder):
    """Reviews as "text" and "label" (neg 0, pos 1).

    The folder "test" of the training archive is the validation split.
    """

    name = "ntc_scv"
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = Path(__file__).parent  # in a checkout, training/ is not inside zoo/

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, supervised_keys=("text", "label"),
            homepage="https://github.com/congnghia0609/ntc-scv",
            description="Restaurant reviews in Vietnamese, positive or negative; _ joins the "
                        "syllables of a word.",
            features=tfds.features.FeaturesDict({
                "text": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["neg", "pos"])}))

    def _split_generators(self, dl_manager):
        archives = dl_manager.download_and_extract(
            {name: f"{_URL}{name}.zip" for name in ("data_train", "data_test")})
        return {split: self._generate_examples(archives[archive] / archive / folder)
                for split, (archive, folder) in _SPLITS.items()}

    def _generate_examples(self, folder):
        """Yield (key, example) for each UTF-8 file of folder/neg and folder/pos."""
        for label in self.info.features["label"].names:
            for file in sorted((folder / label).glob("*.txt")):
                text = file.read_text(encoding="utf-8").strip()
                yield f"{label}/{file.name}", {"text": text, "label": label}
