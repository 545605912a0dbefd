"""What a recipe can say: one frozen dataclass, its file, and how it is changed from the command line."""
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import UsageError, unknown
from zoo.settings import builder_args, check_type, convert, split_setting

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
    vectors: str = ""             # sentences: a word2vec or GloVe file that the word vectors start as; "" for random ones
    folds: int = 0                # sentences: cross-validation in so many folds; 0 for the given parts
    fold: int = 0                 # which of them is the test part, from 0
    limit: int = 0                # training examples used, drawn by class; 0 for all
    normalise: bool = False       # by the training images' mean and standard deviation; `weights` bring their own
    validation: float = 0.1       # share of the training images held out to choose the best epoch, 0 to 0.5
    augment: dict = field(default_factory=dict)     # {"crop": pixels, "flip": true, ...}, see zoo.training.data.augmentation.augment
    optimizer: str = "adam"       # adadelta, adam, adamw, lamb, muon, nesterov, rmsprop, sgd
    momentum: float = 0.9         # of muon, nesterov and sgd, 0 to 1
    learning_rate: float = 1e-3   # the highest rate
    schedule: str = "cosine"      # cosine (to zero), one_cycle, step (a tenth at half, again at three quarters) or constant
    warmup: float = 1.0           # epochs of linear warm-up
    weight_decay: float = 0.0     # a share of the rate, beside the gradient; not on biases and normalisations
    label_smoothing: float = 0.0  # 0 to 1
    clip: float = 0.0             # the largest global norm of the gradient; 0 for no limit
    accumulate: int = 1           # batches whose mean gradient makes one update
    ema: float = 0.0              # decay of a moving average of the weights, which is validated and kept; 0 for none
    initializer: str = ""         # of all kernels, such as he_normal; "" for the network's own
    frozen: list = field(default_factory=list)  # stages not trained, their batch normalisations in inference; ["all"] for all
    thaw: int = 0                 # epochs until the last frozen stage is trained too, and again until the next; 0 for never
    stage_rates: dict = field(default_factory=dict)  # {stage: factor of the learning rate}
    epochs: int = 10
    patience: int = 0             # epochs without a better validation after which training stops; 0 for never
    batch: int = 128
    precision: str = "auto"       # auto, float32, mixed_bfloat16, mixed_float16
    seed: int = 0

    def __post_init__(self):
        for known in dataclasses.fields(self):
            check_type(known.name, getattr(self, known.name), known.type)
        if Path(self.name).name != self.name:
            raise UsageError(f"name must be one that a folder can have. Received: {self.name!r}.")
        self._check_numbers()
        for name, choices in (("resize", RESIZES), ("balance", BALANCES)):
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        if self.balance == "weights" and {"mixup", "cutmix"} & set(self.augment):
            raise UsageError("balance='weights' needs one class an image, and mixup and cutmix give two. "
                             "balance='sampling' goes with them.")

    def _check_numbers(self):
        if self.folds == 1:
            raise UsageError("folds must be 0, for the given parts, or at least 2. Received: 1.")
        for name, low, high in (("epochs", 1, None), ("batch", 1, None), ("validation", 0, 0.5), ("warmup", 0, None),
                                ("learning_rate", 0, None), ("label_smoothing", 0, 0.99), ("weight_decay", 0, None),
                                ("seed", 0, 2**31 - 1), ("momentum", 0, 1), ("clip", 0, None), ("accumulate", 1, None),
                                ("ema", 0, 0.99999), ("thaw", 0, None), ("patience", 0, None), ("limit", 0, None),
                                ("vocabulary", 3, None), ("minimum_count", 1, None), ("max_tokens", 1, None),
                                ("folds", 0, None), ("fold", 0, max(self.folds - 1, 0))):
            value = getattr(self, name)
            if not value >= low or (high is not None and value > high):
                bound = f"at least {low}" if high is None else f"{low} to {high}"
                raise UsageError(f"{name} must be {bound}. Received: {value}.")
        for stage, factor in self.stage_rates.items():
            if not isinstance(factor, (int, float)) or not factor >= 0:
                raise UsageError(f"stage_rates must be numbers of at least 0. Received: {factor!r} for {stage}.")

    def to_json(self):
        """Return the recipe as indented JSON, all fields."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read(path):
    """Return the recipe in a recipe.json.

    Raises:
        zoo.errors.UsageError: if the file cannot be read, is no JSON object, or has a field that no recipe has, or a
            value that the field cannot have.
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
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
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
