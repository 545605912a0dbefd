"""What does an export cost: its signature at batch 1 over a function written by hand, its bytes?

`python benchmarks/export.py RUN|NAME...` exports each finished run or shipped network, loads the
SavedModel, and in the same process calls in turn its serving_default and a tf.function of the same
network with a softmax, the least that answers probabilities. It compares the median call; and the
bytes of all files with those of the weights and the vocabulary. Results go to
benchmarks/export.json.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS, CALLS, WARM_UP = 20, 100, 100  # rounds alternate between the two sides
HERE = Path(__file__)
sys.path.insert(0, str(HERE.parents[1]))


def sides(run, folder):
    """Return the network's name, {side: a function that runs one example}, (bytes, least)."""
    import tensorflow as tf

    from zoo.training import trained
    from zoo.training.deployment import exporter

    whole = exporter.export(run, folder)["bytes"]
    source, loaded = trained.load(run), tf.saved_model.load(folder)
    if source.vocabulary:
        from zoo.training.preprocessing.text import lookup_table, token_ids

        question, words = tf.constant(source.examples[:1]), lookup_table(source.vocabulary)

        spec = tf.TensorSpec((None,), tf.string)

        def by_hand(text):
            return tf.nn.softmax(
                source.model(token_ids(text, words, source.recipe.max_tokens), training=False)
            )
    else:
        question = tf.constant(source.examples[:1], tf.float32)
        spec = tf.TensorSpec((None, *question.shape[1:]), tf.float32)

        def by_hand(image):
            return tf.nn.softmax(source.model(image, training=False))

    signature, function = (
        loaded.signatures["serving_default"],
        tf.function(by_hand, input_signature=[spec]),
    )
    takes = next(iter(signature.structured_input_signature[1]))
    least = 4 * source.model.count_params() + len(str(source.vocabulary or "").encode())
    return (
        source.recipe.model,
        {
            "signature": lambda: signature(**{takes: question})["probabilities"].numpy(),
            "by hand": lambda: function(question).numpy(),
            "loaded": lambda: loaded,
        },
        (whole, least),
    )


def compare(run):
    """Return the network's name, each side's median milliseconds, their ratio, and the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        name, asked, (whole, least) = sides(run, Path(folder) / "model")
        times = {side: [] for side in ("signature", "by hand")}
        for number in range(ROUNDS + 1):
            for side in times:
                for _ in range(CALLS if number else WARM_UP):
                    start = time.perf_counter()
                    asked[side]()
                    if number:
                        times[side].append(1e3 * (time.perf_counter() - start))
    medians = {side: round(median(values), 3) for side, values in times.items()}
    return name, {
        "median ms": medians,
        "ratio": round(medians["signature"] / medians["by hand"], 3),
        "calls": ROUNDS * CALLS,
        "bytes": {
            "directory": whole,
            "weights and vocabulary": least,
            "ratio": round(whole / least, 3),
        },
    }


def main(runs):
    """Measure, print and keep the results."""
    from sides import keep

    report = dict(compare(run) for run in runs)
    keep(HERE, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
