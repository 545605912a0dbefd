"""The fields of a recipe: one frozen dataclass, its file, and settings from the command line."""
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.catalog import arguments
from zoo.errors import UsageError, unknown
from zoo.settings import builder_args, check_type, convert, split_setting
from zoo.training.data.augmentation.settings import MIXING, check
from zoo.training.preprocessing.pillow_images import DROPPED, rgb

# The fields' names up to version 0.1; accepted for one more version.
OLD_NAMES = {"accumulate": "accumulation_steps", "batch": "batch_size", "clip": "clip_norm",
             "limit": "max_train_examples", "minimum_count": "min_count", "normalise": "normalize",
             "stage_rates": "stage_lr_multipliers", "thaw": "unfreeze_every",
             "validation": "validation_split"}
RESIZES = ("stretch", "crop", "pad")
BALANCES = ("none", "weights", "sampling")
CACHES = ("auto", "memory", "disk", "none")
OPTIMIZERS = ("adadelta", "adam", "adamw", "lamb", "muon", "nesterov", "rmsprop",
              "rmsprop_momentum", "sgd")
SCHEDULES = ("constant", "cosine", "exponential", "one_cycle", "step")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
STRATEGIES = ("none", "mirrored", "multi_worker")  # not of a recipe: see engine/distribution.py
_CHOICES = {"resize": RESIZES, "balance": BALANCES, "cache": CACHES, "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES, "precision": PRECISIONS}
_SYNONYMS = {"fp16": "mixed_float16", "half": "mixed_float16", "bf16": "mixed_bfloat16",
             "fp32": "float32", "onecycle": "one_cycle", "cos": "cosine", "letterbox": "pad"}
_FOR_IMAGES = ("augment", "normalize", "background", "resize", "eval_resize", "teacher")
_FOR_SENTENCES = ("folds", "vectors")
_FOR_WORDS = ("vocabulary", "min_count")
FINE_TUNING_STEPS = 200  # on small data, from trained weights
_RANGES = {  # {field: (lowest, highest or None)}
    "epochs": (1, None), "batch_size": (1, None), "validation_split": (0, 0.5), "warmup": (0, None),
    "learning_rate": (0, None), "label_smoothing": (0, 0.99), "weight_decay": (0, None),
    "seed": (0, 2**31 - 1), "momentum": (0, 1), "clip_norm": (0, None),
    "accumulation_steps": (1, None), "ema": (0, 0.99999), "unfreeze_every": (0, None),
    "patience": (0, None), "max_train_examples": (0, None), "vocabulary": (3, None),
    "min_steps": (0, None), "min_count": (1, None), "max_tokens": (1, None), "folds": (0, None),
    "teacher_weight": (0, 1), "temperature": (0.1, None),
    "eval_resize": (0, None), "decay": (1e-6, 1), "decay_epochs": (0.01, None)}


@dataclass(frozen=True)
class Recipe:
    """One experiment; with the same versions and number of threads, it gives the same weights.

    Raises:
        zoo.errors.UsageError: if a field has the wrong type or a value out of its range.
    """

    name: str
    model: str  # a name of the zoo
    data: str  # "digits", the path of a folder or file, or a TFDS name
    model_args: dict = field(default_factory=dict)  # builder arguments
    resize: str = "stretch"  # how images get the network's size: stretch, crop or pad
    # The shorter side in pixels before the centre is cut out, with resize="crop"; 0 for the cut's.
    # In training too, unless a crop of `augment` sees the original image.
    eval_resize: int = 0
    background: str = "white"  # under transparent images: white, black or such as "#ffe0c0"
    skip_bad: bool = False  # leave out image files that cannot be decoded; see cache
    # Where decoded images are kept: memory, disk or none, which decodes them at every step and
    # replaces files that cannot be decoded; auto is memory if a quarter of the free one suffices.
    cache: str = "auto"
    balance: str = "none"  # for uneven classes: none, weights (in the loss) or sampling
    vocabulary: int = 20_000  # text: the maximum number of words, the most frequent ones
    min_count: int = 1  # text: a word must occur this often in the training split
    max_tokens: int = 400  # text: longer sentences are truncated
    vectors: str = ""  # text: a word2vec or GloVe file; "" for random word vectors
    folds: int = 0  # text: number of cross-validation folds; 0 uses the given splits
    fold: int = 0  # which fold is the test split, from 0
    max_train_examples: int = 0  # a stratified subsample of this size; 0 for all
    normalize: bool = False  # by mean and standard deviation of the training images
    validation_split: float = 0.1  # share of the training split, 0 to 0.5
    augment: dict = field(default_factory=dict)  # {"crop": pixels, "flip": true, ...}
    # adadelta, adam, adamw, lamb, muon, nesterov, rmsprop, rmsprop_momentum, sgd
    optimizer: str = "adam"
    momentum: float = 0.9  # of muon, nesterov, rmsprop_momentum and sgd, 0 to 1
    learning_rate: float = 1e-3  # the peak of the schedule
    schedule: str = "cosine"  # cosine, exponential, one_cycle, step or constant
    decay: float = 0.1  # of schedule exponential: the factor at each step, above 0 to 1
    decay_epochs: float = 30.0  # of schedule exponential: epochs between two steps
    warmup: float = 1.0  # epochs of linear warm-up
    weight_decay: float = 0.0  # decoupled, see optimizers.optimizer; not on biases, normalization
    label_smoothing: float = 0.0  # 0 to 1
    clip_norm: float = 0.0  # maximum global norm of the gradient; 0 for no limit
    accumulation_steps: int = 1  # batches per update
    ema: float = 0.0  # decay of the weights' moving average, which is validated; 0 for none
    teacher: str = ""  # images: a run or trained network to learn from too; see distillation.distil
    teacher_weight: float = 0.9  # the share of the teacher in the loss, 0 to 1
    temperature: float = 2.0  # by which the teacher's logits and the network's are divided
    initializer: str = ""  # of all kernels, such as he_normal; "" for the network's own
    frozen: list = field(default_factory=list)  # stages not trained; ["all"] for all
    unfreeze_every: int = 0  # epochs after which one more stage is unfrozen; 0 for never
    stage_lr_multipliers: dict = field(default_factory=dict)  # {stage: factor}; 0 freezes
    epochs: int = 10
    min_steps: int = 0  # on small data an epoch repeats the examples, for this many batches in all
    patience: int = 0  # epochs without improvement before training stops; 0 for never
    batch_size: int = 128
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16
    seed: int = 0

    def __post_init__(self):
        for name, kind in _types().items():
            check_type(name, getattr(self, name), kind)
        if Path(self.name).name != self.name:
            raise UsageError(f"name must be a valid folder name. Received: {self.name!r}.")
        self._check_numbers()
        rgb(self.background)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices, _SYNONYMS)
        check(self.augment)
        if self.eval_resize and self.resize != "crop":
            raise UsageError("eval_resize keeps proportions and cuts out the centre, which is "
                             f"resize='crop'. Received: eval_resize={self.eval_resize}, "
                             f"resize={self.resize!r}.")
        if self.balance == "weights" and MIXING & self.augment.keys():
            raise UsageError("balance='weights' needs one class per image, and mixup and cutmix "
                             "give two. Use balance='sampling' with them.")

    def _check_numbers(self):
        if self.folds == 1:
            raise UsageError("folds must be 0 (use the given splits) or at least 2. Received: 1.")
        for name, (low, high) in {**_RANGES, "fold": (0, max(self.folds - 1, 0))}.items():
            value = getattr(self, name)
            if not value >= low or (high is not None and value > high):
                bound = f"at least {low}" if high is None else f"{low} to {high}"
                raise UsageError(f"{name} must be {bound}. Received: {value}.")
        for stage, factor in self.stage_lr_multipliers.items():
            if not isinstance(factor, (int, float)) or not factor >= 0:
                raise UsageError("stage_lr_multipliers must be numbers of at least 0. Received: "
                                 f"{factor!r} for {stage}.")

    def __getattr__(self, name: str) -> Any:
        if name not in OLD_NAMES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        _say_renamed("Recipe", f"{name} is now {OLD_NAMES[name]}")
        return getattr(self, OLD_NAMES[name])

    def to_json(self) -> str:
        """Return the recipe as indented JSON, all fields."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def _types() -> dict[str, Any]:
    return {field.name: field.type for field in dataclasses.fields(Recipe)}


def check_kind(recipe: Recipe) -> None:
    """Check that no field is for a kind of data that the recipe's network does not take.

    Raises:
        zoo.errors.UsageError: if a field for images is set and the network takes sentences, one
            for sentences and it takes images, one for words and it reads characters, or one for a
            teacher that is not named.
    """
    kinds = [("images", _FOR_IMAGES), ("sentences", _FOR_SENTENCES)]
    if "input_shape" in arguments(recipe.model):
        kinds.reverse()
    (kind, names), (taken, _) = kinds
    defaults = Recipe("", "", "")
    for name in names:
        value = getattr(recipe, name)
        if value != getattr(defaults, name):
            raise UsageError(f"{name} is for {kind}, and {recipe.model} takes {taken}. "
                             f"Received: {value!r}.")
    for name in _FOR_WORDS if "alphabet" in arguments(recipe.model) else ():
        value = getattr(recipe, name)
        if value != getattr(defaults, name):
            raise UsageError(f"{name} is for networks that read words, and {recipe.model} reads "
                             f"the characters of alphabet. Received: {value!r}.")
    for name in () if recipe.teacher else ("teacher_weight", "temperature"):
        value = getattr(recipe, name)
        if value != getattr(defaults, name):
            raise UsageError(f"{name} needs a teacher, a run or a trained network, such as "
                             f"teacher=resnet20-cifar10. Received: {value!r}.")


def current_names(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Return `values` with old names of recipe fields replaced, and print the new names on stderr.

    Args:
        values: a dict whose keys may be names of recipe fields.
        source: where the names were read, for the message.
    """
    renamed = {old: new for old, new in OLD_NAMES.items() if old in values}
    if renamed:
        _say_renamed(source, ", ".join(f"{old} is now {new}" for old, new in renamed.items()))
    return {renamed.get(name, name): value for name, value in values.items()}


@functools.cache  # once per file and process
def _say_renamed(source, changes):
    print(f"{source}: {changes}. The old names will be removed.", file=sys.stderr, flush=True)


def read(path: str | os.PathLike) -> Recipe:
    """Return the recipe in a recipe.json.

    Raises:
        zoo.errors.UsageError: if the file cannot be read, is not a JSON object, or has an unknown
            field or an invalid value.
    """
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise TypeError(f"expected a JSON object, received {fields!r}")
        fields = current_names(fields, str(path))
        for name in sorted(fields):
            if name not in _types():
                raise unknown(f"field in {path}:", name, _types())
        return Recipe(**fields)
    except OSError as error:
        inside = Path(path) / "recipe.json"
        hint = f" Did you mean {str(inside)!r}?" if inside.is_file() else ""
        raise UsageError(f"Cannot read the recipe {path}: {error.strerror}.{hint}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise UsageError(f"{path} is not a recipe: {error}.") from None


def read_run(run: str | os.PathLike) -> Recipe:
    """Return the recipe of a run directory.

    Versions that wrote no background dropped the transparency, and so does what they trained.

    Raises:
        zoo.errors.UsageError: as `read`.
    """
    file = Path(run) / "recipe.json"
    recipe = read(file)
    if has_background(file):
        return recipe
    return dataclasses.replace(recipe, background=DROPPED)


def has_background(path: str | os.PathLike) -> bool:
    """Return whether a recipe.json names a background, as all do that this version writes."""
    return "background" in json.loads(Path(path).read_text(encoding="utf-8"))


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return `recipe` with fields replaced.

    Args:
        recipe: the recipe to start from.
        settings: "name=value" strings. A name that is not a field of a recipe but an argument of
            the network's builder replaces that argument in `model_args`. `epochs` alone sets
            min_steps to 0: these are then all epochs. Trained `weights` need fewer min_steps.

    Raises:
        zoo.errors.UsageError: if a name is unknown, or a value has the wrong type.
    """
    settings = list(settings)
    replaced = {split_setting(setting)[0] for setting in settings}
    if "min_steps" not in replaced and replaced & {"epochs", "weights"}:
        steps = 0 if "epochs" in replaced else min(recipe.min_steps, FINE_TUNING_STEPS)
        recipe = dataclasses.replace(recipe, min_steps=steps)
    types = {name: kind for name, kind in _types().items() if name not in ("name", "model", "data")}
    fields: dict[str, Any] = {}
    args: dict[str, Any] = {}
    for setting in settings:
        name, value = split_setting(setting)
        if name in OLD_NAMES and name not in arguments(recipe.model):
            (name, value), = current_names({name: value}, "--set").items()
        if name in types:
            fields[name] = convert(name, value, types[name])
        else:
            args |= builder_args(recipe.model, [setting], also=types)
    # At once: two fields may go together only, whichever comes first.
    fields["model_args"] = fields.get("model_args", recipe.model_args) | args
    return dataclasses.replace(recipe, **fields)
