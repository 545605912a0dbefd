"""Every experiment under one name: the network, its data, and how it is trained.

A recipe is one line of `RECIPES`; what it leaves out is a default of `Recipe`. A run directory keeps the resolved recipe as
recipe.json, so that `zoo train --recipe RUN/recipe.json` repeats the run.
"""
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import UsageError, unknown
from zoo.settings import builder_args, convert, split_setting


RESIZES = ("stretch", "crop", "pad")
BALANCES = ("none", "weights", "sampling")


@dataclass(frozen=True)
class Recipe:
    """One experiment, complete: with the same versions and number of threads it gives the same weights."""

    name: str
    model: str                    # a name of the zoo
    data: str                     # "digits", the path of a folder or file, or a TFDS name
    model_args: dict = field(default_factory=dict)  # builder arguments; images are resized to its input_shape
    resize: str = "stretch"       # stretch, crop or pad: what becomes of the images' aspect
    skip_bad: bool = False        # leave out files that cannot be decoded, instead of refusing the folder
    balance: str = "none"         # uneven classes: none, weights (in the loss) or sampling (each class as often)
    vocabulary: int = 20_000      # sentences: the most words, by frequency in the training part
    minimum_count: int = 1        # sentences: how often a word must occur there
    max_tokens: int = 400         # sentences: tokens after that many are dropped
    folds: int = 0                # sentences: cross-validation in so many folds; 0 for the given parts
    fold: int = 0                 # which of them is the test part, from 0
    normalise: bool = False       # subtract the training images' mean and divide by their standard deviation
    validation: float = 0.1       # share of the training images held out to choose the best epoch, 0 to 0.5
    augment: dict = field(default_factory=dict)     # {"crop": pixels, "flip": true, ...}, see training.augment
    optimizer: str = "adam"       # adam, adamw, sgd, nesterov
    learning_rate: float = 1e-3   # the highest rate
    schedule: str = "cosine"      # cosine (to zero) or constant
    warmup: float = 1.0           # epochs of linear warm-up
    weight_decay: float = 0.0     # not on biases and normalisations
    label_smoothing: float = 0.0  # 0 to 1
    epochs: int = 10
    batch: int = 128
    precision: str = "auto"       # auto, float32, mixed_bfloat16, mixed_float16
    seed: int = 0

    def __post_init__(self):
        for name, low, high in (("epochs", 1, None), ("batch", 1, None), ("validation", 0, 0.5), ("warmup", 0, None),
                                ("learning_rate", 0, None), ("label_smoothing", 0, 0.99), ("weight_decay", 0, None),
                                ("seed", 0, 2**31 - 1),
                                ("vocabulary", 3, None), ("minimum_count", 1, None), ("max_tokens", 1, None),
                                ("folds", 0, None), ("fold", 0, max(self.folds - 1, 0))):
            value = getattr(self, name)
            if not value >= low or (high is not None and value > high):
                bound = f"at least {low}" if high is None else f"{low} to {high}"
                raise UsageError(f"{name} must be {bound}. Received: {value}.")
        for name, choices in (("resize", RESIZES), ("balance", BALANCES)):
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        if self.balance == "weights" and {"mixup", "cutmix"} & set(self.augment):
            raise UsageError("balance='weights' needs one class an image, and mixup and cutmix give two. "
                             "balance='sampling' goes with them.")

    def to_json(self):
        """Return the recipe as indented JSON, all fields."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


_AFFINE = {"shift": 2, "rotate": 10, "zoom": 0.1}
_TEXTCNN = {"embedding": 100, "scale": 0.05, "embedding_dropout": 0.5}
_LENET5_28 = {"input_shape": (28, 28, 1), "padding": "same"}  # pads 28x28 to the paper's 32x32


def _text(name, data, **fields):
    """What the recipes for sentences share: many words seen rarely want a small table, dropped out, and few epochs."""
    return Recipe(name, "textcnn", data, _TEXTCNN, **{
        "batch": 50, "learning_rate": 3e-3, "warmup": 0.0, "minimum_count": 2, "max_tokens": 64} | fields)


RECIPES = {recipe.name: recipe for recipe in (
    Recipe("lenet5-digits", "lenet5", "digits", epochs=40, batch=32, learning_rate=3e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("lenet5-mnist", "lenet5", "mnist", _LENET5_28, epochs=20, learning_rate=4e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("lenet-mnist", "lenet", "mnist", normalise=True, epochs=20, learning_rate=4e-3, label_smoothing=0.05,
           augment=_AFFINE),
    Recipe("resnet20-cifar10", "resnet20", "cifar10", normalise=True, validation=0.02, epochs=40, optimizer="nesterov",
           learning_rate=0.2, weight_decay=5e-4, warmup=2.0, augment={"crop": 4, "flip": True}),
    _text("textcnn-mr", "mr.csv", epochs=3),  # with --folds 10, as the paper scores it
    _text("textcnn-uit_vsfc", "uit-vsfc", epochs=4),
    _text("textcnn-ntc_scv", "ntc_scv", epochs=4, max_tokens=200),
    _text("textcnn-imdb_reviews", "imdb_reviews", epochs=4, max_tokens=400),
    Recipe("lenet-cassava", "lenet_cassava", "cassava", epochs=30, batch=64, augment=_AFFINE),
)}


def recipe(name, data=None):
    """Return the recipe `name`, on other `data` if some are named; or the default recipe of the model `name` on `data`.

    Raises:
        zoo.errors.UsageError: if there is no such recipe; the nearest name is given.
    """
    if data is None:
        if name not in RECIPES:
            raise unknown("recipe", name, RECIPES)
        return RECIPES[name]
    source = str(Path(data).resolve()) if Path(data).exists() else data
    title = f"{name.rpartition(':')[2]}-{Path(data).stem}"
    if name in RECIPES:
        same = Path(data).stem.replace("-", "_") in name.replace("-", "_")  # textcnn-mr on its own mr.csv, wherever it lies
        return dataclasses.replace(RECIPES[name], name=name if same else title, data=source)
    return Recipe(title, name, source)


def read(path):
    """Return the recipe in a recipe.json.

    Raises:
        zoo.errors.UsageError: if the file cannot be read, is no JSON object, or has a field that no recipe has.
    """
    try:
        fields = json.loads(Path(path).read_text())
        if not isinstance(fields, dict):
            raise TypeError(f"a JSON object was expected, not {fields!r}")
        unknown_fields = set(fields) - {f.name for f in dataclasses.fields(Recipe)}
        if unknown_fields:
            raise unknown(f"field in {path}:", min(unknown_fields), [f.name for f in dataclasses.fields(Recipe)])
        return Recipe(**fields)
    except OSError as error:
        raise UsageError(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise UsageError(f"{path} is not a recipe: {error}.") from None


def override(recipe, settings):
    """Return `recipe` with the fields replaced that `settings`, a list of "name=value", names.

    A name that is no field of a recipe but an argument of its network's builder goes to `model_args`.

    Raises:
        zoo.errors.UsageError: if a name is neither, or a value is not of the type asked for.
    """
    types = {f.name: f.type for f in dataclasses.fields(Recipe) if f.name not in ("name", "model", "data")}
    for setting in settings:
        name, value = split_setting(setting)
        if name in types:
            recipe = dataclasses.replace(recipe, **{name: convert(name, value, types[name])})
        else:
            args = recipe.model_args | builder_args(recipe.model, [setting], also=types)
            recipe = dataclasses.replace(recipe, model_args=args)
    return recipe
