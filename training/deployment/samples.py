"""The test examples that an export brings, for the page of `zoo serve` to show."""
import base64
import io
import json
from pathlib import Path

from PIL import Image

from zoo.training.files import write
from zoo.training.trained import Trained

FILE = "samples.json"
_COUNT = 8
_SMALL = 64        # pixels: up to here PNG, which loses nothing; JPEG above
_SENTENCE = 1000   # characters of a sentence at most


def write_samples(trained: Trained, assets: Path) -> None:
    """Write the first test examples of a run as samples.json: {"images": data URIs} or {"texts"}.

    Networks without test examples, those that are exported by name, get none.
    """
    if trained.examples_of != "test":
        return
    examples = trained.examples[:_COUNT]
    if trained.vocabulary:
        texts = [text.decode() for text in examples]
        content = {"texts": [text for text in texts if len(text) <= _SENTENCE]}
    else:
        content = {"images": [_data_uri(image) for image in examples]}
    write(assets / FILE, json.dumps(content, ensure_ascii=False) + "\n")


def _data_uri(pixels):
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    kind = "PNG" if max(image.size) <= _SMALL else "JPEG"
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
