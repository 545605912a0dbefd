"""`explain`: what a trained network has learnt and where it errs, as numbers and pictures."""
import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from zoo.errors import UserError
from zoo.startup import quiet_retracing
from zoo.training import evaluation, files, trained
from zoo.training.data.cache import ImageArrays
from zoo.training.data.source import Source
from zoo.training.data.splits import Split
from zoo.training.data.token_cache import TokenCache
from zoo.training.explanation import (
    augmented,
    embedding,
    feature_maps,
    first_filters,
    gallery,
    grad_cam,
    ngrams,
    occlusion,
    saliency,
)
from zoo.training.explanation.ngrams import Ngram
from zoo.training.preprocessing.images import fit_to, read_image

_LOSSES = 12    # shown
_SENTENCES = 3  # of the test split, looked into if the user names none
_HEATS = 3      # classes whose Grad-CAM and the like are shown for an image


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network predicts for one input, and why.

    Attributes:
        input: a uint8 image (height, width, channels), or a sentence.
        true_class: None if unknown.
        predicted: the most probable class.
        probability: of that class.
        probabilities: of all classes, float32 (classes,).
        heat: Grad-CAM of the predicted class, (height, width); None for a network without maps.
        ngrams: of a TextCNN, those that add most to the logit of the predicted class.
        loss: the cross-entropy in nats; None if the true class is unknown.
    """

    input: np.ndarray | str
    true_class: str | None
    predicted: str
    probability: float
    probabilities: np.ndarray
    heat: np.ndarray | None = None
    ngrams: tuple[Ngram, ...] = ()
    loss: float | None = None


@dataclasses.dataclass(frozen=True)
class Explained:
    """What the page of a network shows; see `explain`.

    Attributes:
        trained: the network.
        looked_into: one image, or sentences.
        filters: pictures of the filters of the first convolution.
        maps: {stage: (output shape, pictures)} for the image looked into.
        heat_stage: the stage whose maps Grad-CAM uses; None for a network without maps.
        heats: (class, probability, {method: picture}, drop) of the most probable classes of that
            image; the methods are Grad-CAM, occlusion and saliency, and `drop` is the largest one
            of the probability by occlusion.
        history: a dict for each epoch. This and what follows is empty for a shipped network.
        per_class, confused: see `zoo.training.evaluation`.
        confusions: {epoch: confusion matrix of the validation split} of the epochs that the run
            recorded.
        tested: in words, the examples that what follows is from.
        top_losses: the examples with the largest losses, the largest first.
        ngrams: of a TextCNN, for each class those that add most to its logit.
        examples: a sample of the examples, then more of each cell of the confusion matrix.
        positions: {"PCA", "t-SNE": (n, 2)}, maps of the first n `examples`; may be empty.
        augmented: (image, label in words) of a training batch; empty without the data set.
    """

    trained: trained.Trained
    looked_into: list[Prediction]
    filters: list[np.ndarray]
    maps: dict[str, tuple]
    heat_stage: str | None
    heats: list[tuple]
    history: list[dict] = dataclasses.field(default_factory=list)
    per_class: list[dict] = dataclasses.field(default_factory=list)
    confused: list[dict] = dataclasses.field(default_factory=list)
    confusions: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    tested: str = ""
    top_losses: list[Prediction] = dataclasses.field(default_factory=list)
    ngrams: list[list[Ngram]] = dataclasses.field(default_factory=list)
    examples: list[Prediction] = dataclasses.field(default_factory=list)
    positions: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    augmented: list[tuple[np.ndarray, str]] = dataclasses.field(default_factory=list)


def explain(run: str | os.PathLike[str], image: str | os.PathLike[str] | None = None,
            text: str | None = None, data_dir: str | None = None) -> Explained:
    """Explain a trained network: its scores, its errors, and how it sees one image or sentence.

    Args:
        run: a run directory, or a name of a trained network; see `zoo.training.trained.load`.
        image: path of an image file to look into; by default the first test image.
        text: a sentence to look into; by default the first three of the test split.
        data_dir: where TensorFlow Datasets keeps its files. If the data set cannot be loaded, the
            test examples that the run kept take its place.

    Raises:
        zoo.errors.UserError: if there is no such network, the image cannot be read, the network
            takes text and not images or the reverse, or a shipped network gets neither.
    """
    source = trained.load(run)
    sample = _sample(source, image, text)
    if source.is_shipped:
        if sample is None:
            option = "a sentence (--text)" if source.vocabulary else "an image (--image)"
            raise UserError(f"{source.name} comes without its data. Pass {option} to look into.")
        return Explained(source, *_look_into(source, _predict_sample(source, sample)))
    split, train, tested = _splits(source, data_dir)
    logits = trained.predict_logits(source.model, split)
    matches = _matches(source, split.examples) if source.vocabulary else None

    def predictions(indices, explained=True):
        return _predictions(source, _take(split, indices), split.labels[indices], logits[indices],
                            matches and explained and matches.take(indices), explained)
    if sample is None:
        count = _SENTENCES if source.vocabulary else 1
        looked_into = predictions(np.arange(min(count, len(split))))
    else:
        looked_into = _predict_sample(source, sample)
    matrix, by_class = np.array(source.metrics["test_confusion"]), []
    kept, sampled = gallery.choose(split.labels, np.argmax(logits, axis=1), len(matrix))
    batch = []
    if train and not source.vocabulary:
        batch = augmented.augmented_batch(train, source.recipe, source.class_names)
    if matches:
        by_class = ngrams.of_classes(matches, lambda i: _words(source, _take(split, [i]))[0])
    return Explained(
        source, *_look_into(source, looked_into), _history(source.run),
        evaluation.per_class(matrix, source.class_names),
        evaluation.confused(matrix, source.class_names), _confusions(source.run),
        tested, predictions(_largest_losses(split.labels, logits)), by_class,
        predictions(kept, explained=False),
        embedding.maps(_features(source, split, kept[:sampled])), batch)


def summary(explained: Explained) -> dict[str, Any]:
    """Return the numbers of an `Explained` as a dict for JSON."""
    source = explained.trained
    return {"recipe": source.name, "test_accuracy": source.metrics.get("test_accuracy"),
            "per_class": explained.per_class, "confused": explained.confused,
            "tested": explained.tested, "top_losses": list(map(_to_json, explained.top_losses)),
            "looked_into": list(map(_to_json, explained.looked_into)),
            "stages": list(explained.maps),
            "ngrams": {name: list(map(dataclasses.asdict, best)) for name, best
                       in zip(source.class_names, explained.ngrams, strict=False)}}


def _to_json(prediction):
    text = {}
    if isinstance(prediction.input, str):
        text = {"text": prediction.input,
                "ngrams": list(map(dataclasses.asdict, prediction.ngrams))}
    return {**text, "true": prediction.true_class, "predicted": prediction.predicted,
            "probability": prediction.probability, "loss": prediction.loss}


def _sample(source, image, text):
    """The image, as the network takes it, or the sentence of the user; None if there is neither."""
    if image and source.vocabulary:
        raise UserError(f"{source.name} is a network for sentences. "
                        "Pass a sentence (--text), not an image.")
    if text is not None and not source.vocabulary:
        raise UserError(f"{source.name} is a network for images. "
                        "Pass an image (--image), not a text.")
    if not image:
        return text
    shape = source.model.input.shape[1:]
    if shape[2] not in (1, 3):
        raise UserError(f"{source.name} takes images of {shape[2]} channels; "
                        "image files have 1 or 3.")
    return _fitted(image, shape, source.recipe)


def _fitted(image, shape, recipe):
    pixels = read_image(image, recipe.background)
    return fit_to(pixels[None], shape, recipe.resize, recipe.eval_resize)[0].numpy()


def _predict_sample(source, sample):
    inputs = source.inputs([sample.encode()] if source.vocabulary else [sample])
    logits = source.model(inputs, training=False)
    return _predictions(source, [sample], None, logits, _matches(source, inputs))


def _splits(source, data_dir):
    """The test split, or the examples of it that the run kept; the training split, or None; and
    in words which examples the first are."""
    try:
        dataset = source.dataset(data_dir)
        return dataset.test, dataset.train, f"the {len(dataset.test):,} test examples"
    except UserError as error:
        reason = str(error)
    with files.arrays_of(source.run / "examples.npz") as arrays:
        labels = arrays["labels"]
    if source.vocabulary:
        examples: Source = TokenCache(source.examples.__getitem__, labels, source.vocabulary,
                                      source.recipe.max_tokens)
    else:
        examples = ImageArrays(source.examples, labels)
    return (Split(examples, np.arange(len(labels))), None,
            f"the {len(labels)} test examples that the run kept (its data set is not available "
            f"as it was: {reason})")


def _take(split, indices):
    """The images or sentences at `indices`, as a list."""
    return [example.decode() if isinstance(example, bytes) else example
            for example in split.raw(indices)]


def _features(source, split, indices):
    """The penultimate features of the examples at `indices`."""
    model = keras.Model(source.model.input, source.features)
    inputs = source.inputs(np.array(split.raw(indices)))
    with quiet_retracing():
        return model.predict(inputs, verbose=0)


def _losses(labels, logits):
    """The cross-entropy of each example, in nats."""
    return keras.ops.convert_to_numpy(
        keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def _largest_losses(labels, logits):
    """The indices of the examples with the largest losses, the largest first."""
    return np.argsort(-_losses(labels, logits), kind="stable")[:_LOSSES]


def _softmax(logits):
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def _predictions(source, inputs, labels, logits, matches, explained=True):
    """The `Prediction`s for images or sentences; `labels` is None if they are unknown."""
    if not len(inputs):
        return []
    probabilities = _softmax(logits)
    best = probabilities.argmax(axis=1)
    heats: Sequence[np.ndarray | None] | np.ndarray = [None] * len(best)
    matched: Sequence[Sequence[Ngram]] = [()] * len(best)
    if explained and not source.vocabulary and grad_cam.last_map(source.model):
        heats = grad_cam.grad_cam(source.model, np.stack(inputs), best)
    if matches:
        matched = ngrams.of_sentences(matches, _words(source, inputs), best)
    true: Sequence[str | None] = [None] * len(best)
    losses: Sequence[float | None] = [None] * len(best)
    if labels is not None:
        true = [source.class_names[label] for label in labels]
        losses = _losses(labels, logits).tolist()
    return [Prediction(value, name, source.class_names[i], float(row[i]), row, heat, tuple(words),
                       loss)
            for value, name, i, row, heat, words, loss in zip(
                inputs, true, best, probabilities, heats, matched, losses, strict=True)]


def _look_into(source: trained.Trained, predictions: list[Prediction]) -> tuple[
        list[Prediction], list[np.ndarray], dict[str, tuple], str | None, list[tuple]]:
    """The fields of `Explained` from looked_into to heats."""
    filters = first_filters.first_filters(source.model)
    if source.vocabulary:
        return predictions, filters, {}, None, []
    image = cast(np.ndarray, predictions[0].input)
    probabilities = predictions[0].probabilities
    maps, stage = feature_maps.stage_maps(source.model, image), grad_cam.last_map(source.model)
    best = np.argsort(-probabilities, kind="stable")[:_HEATS]
    repeated = np.repeat(image[None], len(best), axis=0)
    drops = occlusion.occlusion(source.model, image, best)
    methods: dict[str, Sequence[np.ndarray] | np.ndarray]
    methods = {"occlusion": [occlusion.heat(each, image.shape) for each in drops],
               "saliency": saliency.saliency(source.model, repeated, best)}
    if stage:
        methods = {"Grad-CAM": grad_cam.grad_cam(source.model, repeated, best), **methods}
    return predictions, filters, maps, stage, [
        (source.class_names[class_id], float(probabilities[class_id]),
         {method: grad_cam.overlay(image, heats[i]) for method, heats in methods.items()},
         float(drops[i].max())) for i, class_id in enumerate(best)]


def _matches(source, ids):
    """The best matches of the filters of a TextCNN; None for another network."""
    return ngrams.match_filters(source.model, ids) if ngrams.has_windows(source.model) else None


def _words(source, texts):
    return source.vocabulary.split(texts, source.recipe.max_tokens)


def _history(run):
    """The rows of history.csv as numbers."""
    file = Path(run) / "history.csv"
    try:
        return [{key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines())]
    except (OSError, ValueError, TypeError) as error:
        raise files.damaged(file, error) from None


def _confusions(run):
    """{epoch: matrix} of confusion.npz, which a run without validation or with many classes, or of
    an earlier version, does not have."""
    file = Path(run) / "confusion.npz"
    if not file.exists():
        return {}
    with files.arrays_of(file) as arrays:
        return dict(zip(arrays["epochs"].tolist(), arrays["matrices"], strict=True))
