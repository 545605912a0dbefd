"""What an explanation shows of a network, heat and n-grams, against the same computed by hand."""

import keras
import numpy as np
import pytest

import zoo
from tests.models import TINY
from zoo.registry import spec
from zoo.training.explanation import ngrams as explain_text
from zoo.training.explanation.feature_maps import stage_maps
from zoo.training.explanation.first_filters import first_filters
from zoo.training.explanation.grad_cam import grad_cam, last_map, overlay


def test_heat_shows_on_an_image_of_its_own_colour():
    image = np.full((1, 2, 3), (255, 120, 0), "uint8")  # the orange of the heat
    cold, hot = overlay(image, np.array([[0.0, 1.0]]))[0].astype(int)
    assert cold.tolist() == [147] * 3  # 0.299 * 255 + 0.587 * 120
    assert np.abs(cold - hot).max() > 100
    grey = np.full((1, 1, 1), 90, "uint8")
    assert overlay(grey, np.zeros((1, 1))).tolist() == [[[90] * 3]]


def test_grad_cam_is_what_a_network_made_by_hand_says():
    """One map is the image and speaks for class 0, one its negative and speaks for class 1."""
    image = keras.Input((8, 8, 1), name="image")
    maps = keras.layers.Conv2D(2, 1, name="stage1_conv")(image)
    logits = keras.layers.Dense(2, use_bias=False, name="logits")(
        keras.layers.GlobalAveragePooling2D(name="pool")(maps)
    )
    model = keras.Model(image, logits)
    model.get_layer("stage1_conv").set_weights(
        [np.array([[[[1.0, -1.0]]]]) / 255, np.array([0.0, 1.0])]
    )
    model.get_layer("logits").set_weights([np.eye(2)])
    model.trainable = False
    corner = np.zeros((2, 8, 8, 1), "uint8")
    corner[:, 0, 0] = 255
    heat = grad_cam(model, corner, [0, 1])
    np.testing.assert_allclose(
        heat, [corner[0, ..., 0] / 255, 1 - corner[0, ..., 0] / 255], atol=1e-6
    )
    model.get_layer("logits").set_weights([-np.eye(2)])  # nothing speaks for a class
    assert not grad_cam(model, corner, [0, 0]).any()


@pytest.mark.slow
def test_every_image_network_has_heat_or_no_maps():
    builders = {spec(name).builder: name for name in TINY if "input_shape" in spec(name).defaults}
    for name in builders.values():
        model = zoo.build(name, **TINY[name])
        image = np.random.default_rng(0).integers(0, 256, model.input.shape[1:]).astype("uint8")
        assert set(stage_maps(model, image)) == set(zoo.stages(model))
        if name.startswith("mlp"):
            assert last_map(model) is None and not first_filters(model)
            continue
        heat = grad_cam(model, np.stack([image, image]), [0, 1])
        assert (
            heat.shape == (2, *image.shape[:2])
            and np.isfinite(heat).all()
            and heat.min() >= 0
            and heat.max() <= 1
        ), name
        assert first_filters(model)


def by_hand(model, ids, row):
    """{(first word, width): contributions (filters, classes)} of one sentence, window by window."""
    tables = [
        layer.get_weights()[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
    ]
    sentence = sum(table[ids[row][ids[row] > 0]] for table in tables)
    output, first, found = model.get_layer("logits").get_weights()[0], 0, {}
    for width in model.windows:
        kernel, bias = model.get_layer(f"window{width}_conv").get_weights()
        spare = np.zeros((width - 1, sentence.shape[1]))
        before = len(spare) if model.full else 0
        padded = np.concatenate([spare[:before], sentence, spare])
        last = len(sentence) + width - 1 if model.full else max(len(sentence) - width + 1, 1)
        values = np.array(
            [
                np.maximum(np.einsum("wi,wif->f", padded[i : i + width], kernel) + bias, 0)
                for i in range(last)
            ]
        )
        for column in range(kernel.shape[-1]):
            place = values[:, column].argmax() - before, width
            found.setdefault(place, []).append(values[:, column].max() * output[first + column])
        first += kernel.shape[-1]
    return found


@pytest.mark.parametrize("name", ["textcnn", "textcnn_course", "textcnn_multichannel"])
def test_ngrams_are_those_of_a_search_by_hand(name):
    model = zoo.build(name, **TINY[name], classes=3)
    model.windows, model.full = TINY[name].get("windows", (3, 4, 5)), name != "textcnn_course"
    ids = np.random.default_rng(1).integers(1, 50, (6, 7)).astype("int32")
    for row, length in enumerate((7, 7, 5, 3, 2, 1)):
        ids[row, length:] = 0
    words = [[f"w{token}" for token in row if token] for row in ids]
    found = explain_text.match_filters(model, ids)
    chosen = [0, 1, 2, 0, 1, 2]
    for row, ngrams in enumerate(explain_text.of_sentences(found, words, chosen, most=1000)):
        sums = {}
        for (start, width), added in by_hand(model, ids, row).items():
            span = (
                max(start, 0),
                min(start + width, len(words[row])),
            )  # windows that differ in padding alone are one
            sums[span] = sums.get(span, 0) + sum(added)[chosen[row]]
        expected = sorted(
            (
                (value, " ".join(words[row][slice(*span)]))
                for span, value in sums.items()
                if value > 0
            ),
            reverse=True,
        )
        np.testing.assert_allclose(
            [ngram.added for ngram in ngrams], [value for value, _ in expected], rtol=1e-4
        )
        assert sorted(ngram.words for ngram in ngrams) == sorted(phrase for _, phrase in expected)
    everything = [by_hand(model, ids, row) for row in range(6)]
    for class_id, ngrams in enumerate(explain_text.of_classes(found, lambda row: words[row])):
        # the largest of a filter is that of the sentence where its maximum, which all classes
        # share, is largest
        assert ngrams and [ngram.added for ngram in ngrams] == sorted(
            (ngram.added for ngram in ngrams), reverse=True
        )
        parts = [
            value[class_id]
            for places in everything
            for values in places.values()
            for value in values
        ]
        assert ngrams[0].added == pytest.approx(max(parts), rel=1e-4)
