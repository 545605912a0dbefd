"""The page of `zoo explain`: one HTML file with everything in it, for light and dark, desktop and phone."""
import string
from html import escape
from pathlib import Path

import numpy as np

from zoo.registry import spec
from zoo.tables import layer_table, total_multiply_adds
from zoo.training import figures
from zoo.training.explanation.html import chart, figure, pictures, table
from zoo.training.explanation.ngrams import has_windows
from zoo.training.explanation.pictures import heated

_CELLS = 20    # up to so many classes the confusion matrix is a table
_NAME = 16     # characters of a class's name beside the picture of the matrix
_NGRAMS = 5    # told of a sentence
_PADDING = "(padding)"  # what a window before the sentence holds
_SIDE = 112    # pixels of a feature map's picture
_LAYERS = ("layer", "type", "maps", "size", "kernel", "stride", "activation", "weights", "multiply-adds")


def run_page(explained):
    """Return the page of a `zoo.training.explanation.explainer.Explained` as a str."""
    known, sections = explained.trained, {}
    if explained.history:
        sections = {"Training curves": _curves(explained), "Confusion matrix": _confusion(explained),
                    "Precision and recall": _classes(explained.per_class), "Errors": _errors(explained)}
    if known.vocabulary:
        sections |= {"N-grams that fired": _ngrams(explained)}
    else:
        sections |= {"First-layer filters": _filters(explained), "Feature maps": _maps(explained),
                     "Grad-CAM": _heats(explained)}
    sections |= {"Layers": _layers(known.model)}
    links = "".join(f'<a href="#s{number}">{title}</a>' for number, title in enumerate(sections))
    body = "".join(f'<section><h2 id="s{number}">{title}</h2>\n{content}</section>\n'
                   for number, (title, content) in enumerate(sections.items()))
    return _page(known.name, f'{_head(explained)}<nav aria-label="Sections">{links}</nav>\n{body}')


def kernels_page(name, shown):
    """Return the page of an image through the classical kernels; see `zoo.training.explanation.kernels.through`."""
    body = pictures([figure(pixels, title, side=480) for pixels, title in shown], "broad")
    return _page(f"Classical kernels: {name}", f"<h1>Classical kernels: {escape(name)}</h1><p>Convolutions of 3x3 pixels with "
                 f"weights written by hand, the same for each colour.</p>{body}")


def _page(title, body):
    template = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body=body)


def _head(explained):
    trained, metrics = explained.trained, explained.trained.metrics
    facts = {"classes": f"{len(trained.class_names):,}", "weights": f"{trained.model.count_params():,}",
             f"multiply-adds of one {'token' if trained.vocabulary else 'image'}": f"{total_multiply_adds(trained.model):,}"}
    if "test_accuracy" in metrics:  # was trained here
        facts = {"test accuracy": f"{metrics['test_accuracy']:.4f}", "test examples": f"{metrics['test_examples']:,}", **facts,
                 "epochs": len(explained.history) or trained.recipe.epochs, "seconds": f"{metrics['seconds']:,}",
                 "seed": metrics["seed"]}
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    origin = f"{trained.recipe.model} ({spec(trained.recipe.model).paper}) trained on {trained.recipe.data}"
    return f"<h1>{escape(trained.name)}</h1><p class=\"soft\">{escape(origin)}</p><dl>{cells}</dl>"


def _curves(explained):
    charts = "".join(chart(lambda name=name: figures.curve(explained.history, name), f"{name} over the epochs")
                     for name in ("loss", "accuracy"))
    return f'<div class="charts">{charts}</div>'


def _confusion(explained):
    matrix, names = np.array(explained.trained.metrics["test_confusion"]), explained.trained.class_names
    if len(names) <= _CELLS:
        return _matrix(matrix, names)
    short = [name if len(name) <= _NAME else name[:_NAME - 1] + "…" for name in names]
    rows = [(pair["true"], pair["found"], f"{pair['count']:,}", f"{pair['share']:.1%}") for pair in explained.confused]
    largest = table(("true", "found", "examples", "of the true class"), rows, numbers=(2, 3))
    whole = chart(lambda: figures.confusion(matrix, short, side=7.5), "confusion matrix")
    return (f'<div class="wide large" tabindex="0">{whole}</div><h3>What is confused most</h3>'
            f"{largest if rows else '<p>Nothing is.</p>'}")


def _matrix(matrix, names):
    """The matrix as a table whose cells are as dark as their share of the true class."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th>' + "".join(
        f'<td class="{"much" if share > 0.75 else "" if count else "none"}" style="--share:{share:.3f}">{count}</td>'
        for count, share in zip(line, share_line, strict=True)) + "</tr>"
        for name, line, share_line in zip(names, matrix, shares, strict=True))
    return ('<p>A row is a true class, a column what was found in the test part.</p><div class="wide" tabindex="0">'
            f'<table class="matrix"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>')


def _classes(rows):
    note = ""
    if len(rows) > _CELLS:
        rows, note = sorted(rows, key=lambda row: row["f1"]), "<p>The worst first.</p>"
    return note + table(("class", "precision", "recall", "F1", "examples"), [
        (row["class"], *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), f"{row['examples']:,}") for row in rows],
        numbers=(1, 2, 3, 4))


def _errors(explained):
    if not explained.errors:
        return f"<p>None among {escape(explained.tested)}.</p>"
    note = f"<p>The most confident wrong answers among {escape(explained.tested)}.</p>"
    if explained.trained.vocabulary:
        return f'{note}<div class="columns">{"".join(map(_sentence, explained.errors))}</div>'
    shown = [figure(answer.question, f"true {answer.true}, found {answer.found}, {answer.probability:.1%}",
                    more=() if answer.heat is None else [heated(answer.question, answer.heat)]) for answer in explained.errors]
    if explained.errors[0].heat is not None:
        return note + "<p>Beside each: where the network saw what it found (Grad-CAM).</p>" + pictures(shown, "pairs")
    return note + pictures(shown)


def _sentence(answer):
    true = f"true {escape(answer.true)}, " if answer.true else ""
    fired = "".join(f"<li>{escape(ngram.words or _PADDING)} <b>{ngram.added:+.2f}</b></li>"
                    for ngram in answer.ngrams[:_NGRAMS])
    return (f'<blockquote><p>{escape(answer.question)}</p><p class="soft">{true}found <b>{escape(answer.found)}</b>, '
            f"{answer.probability:.1%}</p>{f'<ul>{fired}</ul>' if fired else ''}</blockquote>")


def _ngrams(explained):
    singles = "".join(map(_sentence, explained.looked_into))
    if not has_windows(explained.trained.model):
        return f"<p>Left out: this network has no windows of words. TextCNN has.</p>{singles}"
    whole = _by_class(explained) if explained.ngrams else ""
    return ("<p>Each filter hands on its best match in a sentence; times the output's weight it is what those words add to "
            f"the logit of a class.</p>{whole}<h3>In single sentences</h3>"
            "<p>What all filters that chose the same words added to the logit of the class that was found.</p>"
            f'<div class="columns">{singles}</div>')


def _by_class(explained):
    """What spoke most for each class anywhere in the examples."""
    tables = [table(("words", "adds"), [(ngram.words or _PADDING, f"{ngram.added:+.3f}") for ngram in found],
                    numbers=(1,)) if found else "<p>Nothing.</p>" for found in explained.ngrams]
    classes = "".join(f"<div><h3>{escape(name)}</h3>{found}</div>"
                      for name, found in zip(explained.trained.class_names, tables, strict=True))
    return (f"<p>The strongest of any filter for each class, among {escape(explained.tested)}:</p>"
            f'<div class="columns">{classes}</div>')


def _filters(explained):
    if not explained.filters:
        return "<p>Left out: this network has no convolution.</p>"
    shown = [figure(picture, alt=f"filter {number}") for number, picture in enumerate(explained.filters, 1)]
    return ("<p>The weights of the first convolution, a picture a filter: mid-grey is 0, white adds, black takes away.</p>"
            + pictures(shown, "small"))


def _maps(explained):
    answer = explained.looked_into[0]
    told = f"true {answer.true}, " if answer.true else ""
    parts = [pictures([figure(answer.question, f"{told}found {answer.found}, {answer.probability:.1%}")])]
    for stage, (shape, maps) in explained.maps.items():
        shown = [figure(picture, alt=f"a feature map of {stage}", side=_SIDE) for picture in maps]
        parts.append(f"<h3>{escape(stage)} <small>{' × '.join(map(str, shape))}</small></h3>{pictures(shown, 'small')}")
    return ("<p>What each stage makes of one image: the maps that vary most, each from its lowest value, black, to its "
            "highest, white. A stage without height and width is one picture of all its numbers.</p>" + "".join(parts))


def _heats(explained):
    if not explained.heats:
        return "<p>Left out: this network has no convolution whose maps keep a place in the image.</p>"
    shown = [figure(explained.looked_into[0].question, "the image")]
    shown += [figure(picture, f"{name}, {probability:.1%}") for name, probability, picture in explained.heats]
    return ("<p>Where the network sees each of its most probable classes in that image (Selvaraju et al. 2017), from the maps "
            f"of {escape(explained.heat_stage)}; orange is where the maps speak for the class.</p>{pictures(shown)}")


def _layers(model):
    rows = [(row.layer, row.kind, *(f"{value:,}" if isinstance(value, int) else value or "-" for value in (
        row.maps, row.size, row.kernel, row.stride, row.activation, row.params, row.multiply_adds)))
        for row in layer_table(model)]
    return table(_LAYERS, rows, numbers=(2, 7, 8))
