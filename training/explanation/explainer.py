"""What a trained network has learnt and where it errs: the numbers and pictures of `zoo explain`."""
import csv
import dataclasses
from pathlib import Path

import keras
import numpy as np

from zoo.errors import UserError
from zoo.training import evaluation, files, trained
from zoo.training.data.cache import ImageArrays, TokenCache
from zoo.training.data.splits import Split
from zoo.training.explanation import images, pictures
from zoo.training.explanation import ngrams as explain_text
from zoo.training.preprocessing.images import fit_to

_ERRORS = 12     # shown
_SENTENCES = 3   # of the test part, looked into where none is given
_HEATS = 3       # classes that an image's heat is shown for


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a network said to an image, uint8 (height, width, channels), or to a sentence; `true` is None if unknown."""

    question: object
    true: str | None
    found: str
    probability: float
    probabilities: np.ndarray       # of all classes
    heat: np.ndarray | None = None  # of the class it found, see `explain_image.grad_cam`
    ngrams: tuple = ()              # of a TextCNN: the `zoo.training.explanation.ngrams.Ngram`s for the class it found


@dataclasses.dataclass(frozen=True)
class Explained:
    """All that the page of a network shows; see `explain`. What takes its data is empty where there are none."""

    trained: trained.Trained
    history: list   # a dict an epoch
    per_class: list  # dicts: class, precision, recall, f1, examples
    confused: list  # dicts: true, found, count, share (of the true class); the largest count first
    tested: str     # which examples the errors are of
    errors: list    # `Answer`s, the most confident first
    looked_into: list  # `Answer`s: one image, or sentences
    filters: list   # pictures of the first convolution's filters
    maps: dict      # stage: (shape of its output, pictures) for the image looked into
    heat_stage: str | None  # whose maps the heat is of
    heats: list     # (class, probability, picture) for the image looked into
    ngrams: list    # of a TextCNN: for each class what spoke most for it anywhere in the examples


def explain(run, image=None, text=None, data_dir=None):
    """Return the `Explained` of a finished run, or of a network by its name, which comes without data.

    Args:
        run: the run's directory, or, where nothing has that path, what `zoo.load` takes.
        image: path of an image file to look into; by default the run's first test image.
        text: a sentence to look into; by default the first of the run's test part.
        data_dir: where TensorFlow Datasets keeps its files. Where the data are not to be had, the test examples that the run
            kept stand for them.

    Raises:
        zoo.errors.UserError: if there is neither, the image cannot be read or the network takes none, or there is nothing to
            look into.
    """
    known = trained.run_or_shipped(run)
    given = _given(known, image, text)
    if known.of == "random":
        return _without_data(known, given)
    split, tested = _test_part(known, data_dir)
    logits = evaluation.answers(known.model, split, len(known.class_names))
    matched = _matches(known, split.examples) if known.vocabulary else None

    def of_split(rows):
        return _answers(known, _take(split, rows), [known.class_names[label] for label in split.labels[rows]], logits[rows],
                        matched and matched.take(rows))
    first = np.arange(min(_SENTENCES if known.vocabulary else 1, len(split)))
    looked_into = of_split(first) if given is None else _given_answers(known, given)
    matrix, names = np.array(known.metrics["test_confusion"]), known.class_names
    return Explained(known, _history(run), evaluation.per_class(matrix, names), evaluation.confused(matrix, names), tested,
                     of_split(_mistaken(split, logits)), looked_into, images.first_filters(known.model),
                     *_seen(known, looked_into[0]), [] if matched is None else explain_text.of_classes(
                         matched, lambda place: _words(known, _take(split, [place]))[0]))


def _without_data(known, given):
    """The `Explained` of a network by its name."""
    if given is None:
        what = "--text 'a sentence'" if known.vocabulary else "--image FILE"
        raise UserError(f"{known.name} comes without its data. Pass {what} to look into.")
    looked_into = _given_answers(known, given)
    return Explained(known, [], [], [], "", [], looked_into, images.first_filters(known.model),
                     *_seen(known, looked_into[0]), [])


def summary(explained):
    """Return what a program may read of an `Explained`, as a dict."""
    known = explained.trained
    return {"recipe": known.name, "test_accuracy": known.metrics.get("test_accuracy"), "per_class": explained.per_class,
            "confused": explained.confused, "tested": explained.tested, "errors": list(map(_told, explained.errors)),
            "looked_into": list(map(_told, explained.looked_into)), "stages": list(explained.maps),
            "ngrams": {name: [dataclasses.asdict(ngram) for ngram in found]
                       for name, found in zip(known.class_names, explained.ngrams, strict=False)}}


def _told(answer):
    told = {"true": answer.true, "found": answer.found, "probability": answer.probability}
    return {**({"text": answer.question, "ngrams": [dataclasses.asdict(ngram) for ngram in answer.ngrams]}
               if isinstance(answer.question, str) else {}), **told}


def _given(known, image, text):
    """The image or sentence that the user gave; None if nothing."""
    if image and known.vocabulary:
        raise UserError(f"{known.name} is a network for sentences. Pass --text 'a sentence' in place of --image.")
    if text is not None and not known.vocabulary:
        raise UserError(f"{known.name} is a network for images. Pass --image FILE in place of --text.")
    if not image:
        return text
    shape = known.model.input.shape[1:]
    if shape[2] not in (1, 3):
        raise UserError(f"{known.name} takes images of {shape[2]} channels, and image files have 1 or 3.")
    return fit_to(images.read_image(image)[None], shape, known.recipe.resize)[0].numpy()


def _given_answers(known, question):
    """The answer to one question whose class is not known, in a list."""
    inputs = known.inputs([question.encode()] if known.vocabulary else [question])
    matched = _matches(known, inputs) if known.vocabulary else None
    return _answers(known, [question], [None], known.model(inputs, training=False), matched)


def _test_part(known, data_dir):
    """The test part, and in words what it is; where the data are not to be had, the examples that the run kept."""
    try:
        dataset = known.dataset(data_dir)
        return dataset.test, f"the {len(dataset.test):,} test examples"
    except UserError as error:
        reason = str(error)
    with files.arrays_of(known.run / "examples.npz") as kept:
        labels = kept["labels"]
    if known.vocabulary:
        texts = [text.decode() for text in known.examples]
        source = TokenCache(texts, labels, known.vocabulary, known.recipe.max_tokens)
    else:
        source = ImageArrays(known.examples, labels)
    return (Split(source, np.arange(len(labels))),
            f"the {len(labels)} test examples that the run kept (its data are not to be had as they were: {reason})")


def _take(split, places):
    """The images or sentences at `places`."""
    return [example.decode() if isinstance(example, bytes) else example for example in split.raw(places)]


def _mistaken(split, logits):
    """The places of the most confident wrong answers."""
    wrong = np.flatnonzero(np.argmax(logits, axis=1) != split.labels)
    return wrong[np.argsort(-_probabilities(logits[wrong]).max(axis=1), kind="stable")][:_ERRORS]


def _probabilities(logits):
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def _answers(known, questions, true, logits, matched):
    """What the network said to images or sentences, and why, as `Answer`s."""
    if not len(questions):
        return []
    probabilities = _probabilities(logits)
    found = probabilities.argmax(axis=1)
    heats, ngrams = [None] * len(found), [()] * len(found)
    if not known.vocabulary and images.last_map(known.model):
        heats = images.grad_cam(known.model, np.stack(questions), found)
    if matched:
        ngrams = explain_text.of_sentences(matched, _words(known, questions), found)
    return [Answer(question, label, known.class_names[best], float(row[best]), row, heat, tuple(fired)) for
            question, label, best, row, heat, fired in zip(questions, true, found, probabilities, heats, ngrams, strict=True)]


def _seen(known, answer):
    """The pictures of the stages' maps, the stage of the heat, and (class, probability, picture) of the likeliest classes."""
    if known.vocabulary:
        return {}, None, []
    maps, stage = images.stage_maps(known.model, answer.question), images.last_map(known.model)
    if not stage:
        return maps, None, []
    best = np.argsort(-answer.probabilities, kind="stable")[:_HEATS]
    heats = images.grad_cam(known.model, np.repeat(answer.question[None], len(best), axis=0), best)
    return maps, stage, [(known.class_names[i], float(answer.probabilities[i]), pictures.heated(answer.question, heat))
                         for i, heat in zip(best, heats, strict=True)]


def _matches(known, ids):
    """The best matches of a TextCNN's filters; None of another network."""
    return explain_text.matches(known.model, ids) if explain_text.has_windows(known.model) else None


def _words(known, texts):
    return explain_text.words(texts, known.recipe.max_tokens)


def _history(run):
    """The rows of history.csv as numbers."""
    file = Path(run) / "history.csv"
    try:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file.read_text().splitlines())]
    except (OSError, ValueError, TypeError) as error:
        raise files.damaged(file, error) from None
