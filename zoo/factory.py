"""`zoo.build`: a network by its name, with random or trained weights."""
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo import hub, registry, shipped
from zoo.errors import UsageError, UserError, unknown

if TYPE_CHECKING:
    import keras

T = TypeVar("T")


class _Unset:
    """No `weights=`: None for the zoo's builders; another builder may have its own default."""

    def __repr__(self) -> str:
        return "None"


_UNSET: Any = _Unset()


def build(name: str, /, *, weights: "str | os.PathLike[str] | keras.Model | None" = _UNSET,
          **overrides: Any) -> "keras.Model":
    """Build the network registered under `name`, a functional `keras.Model`.

    All networks share this contract; the docstring of a builder adds what is particular to it.

    Input: image networks take RGB or grey images, channels last, uint8 or float in [0, 255], shape
    (batch, *input_shape). Normalizing them is the first layer of the network, so do not scale them
    before. Text networks take token ids, int32 of shape (batch, tokens), with 0 for padding at the
    end; those with an `alphabet` take the ids of characters.

    Output: float32 logits of shape (batch, classes), without softmax, under every dtype policy.
    With `classes=0`, the pooled float32 features that the logits are computed from, of shape
    (batch, features).

    Every layer is named by its position, `stage2_block1_a_bn`; `zoo.stages` and `zoo.features` use
    the names. All layers are Keras's own: a saved network opens without the zoo. Save it as .keras;
    the old format .h5 does too, except for local response normalization (alexnet_2tower, googlenet
    and zfnet), hashed bigrams (fasttext), frames of characters (char_cnn and vdcnn) and shuffled
    channels (shufflenet_v2), whose operations Keras cannot load from it.

    Args:
        name: a registered name (`zoo.names()` lists them), or `package.module:model` for a builder
            of your own.
        weights: what the network starts from; None for random weights. One of:
            - the path of the directory of a finished run, or of a .keras file;
            - the name of a network that ships with the zoo, such as "resnet20-cifar10", or the
              address of one on the Hugging Face Hub, "hf://owner/name";
            - "imagenet", for the networks that `zoo list --weights` lists with it: weights that
              keras.applications publishes, downloaded once to ~/.keras, or that torchvision and
              timm do, downloaded once from the Hugging Face Hub (`zoo.hub_weights.PUBLISHED`);
              "imagenet_torchvision" is torchvision's where keras.applications has others;
            - a `keras.Model` of the same architecture, from the zoo or from keras.applications.
            If `classes` differs from that of the weights, the last layer starts from random
            weights. A builder with a `weights` argument of its own receives the value.
        **overrides: builder arguments that replace the variant's own; `zoo info NAME` lists them.
            Each network has some of these:

            - input_shape: (height, width, channels). Height and width may be None in networks that
              average over all positions before the classifier.
            - vocab_size: the number of token ids of a text network.
            - alphabet, length: the characters that a network for characters reads, and how many of
              them at most; longer texts are cut off.
            - classes: the number of logits, or 0 for features.
            - mean, std: of the pixels on a scale of 0 to 1, a number or one per channel. The first
              layer computes (image / 255 - mean) / std; with several numbers, it repeats a grey
              image in as many channels. Trained weights bring their own; with a `keras.Model` that
              the zoo did not build, they replace what prepares its RGB pixels, and no channels are
              reversed.
            - dropout: the rate of dropout before the logits, from 0 to 1.
            - stem: the first layers; "small" for images of about 32x32 pixels.
            - name: the name of the model, by default that of the network. Two networks inside one
              `keras.Model` need different names:
              `zoo.build("resnet20", name="left")`, `zoo.build("resnet20", name="right")`.

    Returns:
        The network, not compiled.

    Raises:
        zoo.errors.UsageError: if `name` is unknown, the images are smaller than the network's
            minimum, an argument is invalid, or `weights` do not exist or do not fit. The message
            names what was expected, what was received, and the nearest valid choice.
        zoo.errors.UserError: if the weights cannot be downloaded or read.
        TypeError: if the builder does not have an argument; the message names the nearest.
    """
    spec = registry.spec(name)
    if weights is not _UNSET and "weights" in spec.parameters:
        return spec.build({**overrides, "weights": weights})
    if weights is _UNSET or weights is None:
        return spec.build(overrides)
    from zoo.weights import pretrained  # imports Keras
    return pretrained(spec, resolve(weights), overrides)


def check_weights(weights: object) -> None:
    """Raise UsageError if `weights` names no network, file or run; the message names the nearest.

    It imports no Keras.
    """
    file = Path(str(weights))
    if file.is_dir():
        file = file / "model.keras"
    known = weights in shipped.IMAGENET or weights in shipped.names() or hub.is_address(weights)
    if not known and not file.exists():
        nearest = unknown("weights", weights, [*shipped.IMAGENET, *shipped.names()])
        raise UsageError(f"{nearest} Nor is {weights} a finished run or a .keras file.")


def resolve(weights: "str | os.PathLike[str] | keras.Model") -> "keras.Model | str":
    """Return the network that `weights` names; a network and "imagenet" are returned unchanged.

    So is another of `zoo.shipped.IMAGENET`.

    Args:
        weights: as for `build`. A path takes precedence over the name of a shipped network.

    Raises:
        zoo.errors.UsageError: if there is no such file or name; the message names the nearest.
        zoo.errors.UserError: if the file cannot be read.
    """
    import keras
    if isinstance(weights, keras.Model):
        return weights
    if weights in shipped.IMAGENET:
        return str(weights)
    check_weights(weights)
    file = Path(str(weights))
    if not file.exists():
        return shipped.load(str(weights))
    if file.is_dir():
        file = file / "model.keras"
    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"Cannot open the weights {file}: {reason}") from error


def without_weights(build: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Return build(*arguments, **options), with no weights made: their shapes are known.

    Keras keeps scopes, names and settings by thread. In a thread of its own, a scope whose weights
    are never made leaves those of the caller as they are.
    """
    import keras

    def call() -> T:
        with keras.StatelessScope(initialize_variables=False):
            return build(*arguments, **options)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()
