"""What a trained network has learnt: scores, errors, filters, feature maps, Grad-CAM, n-grams.

One file for each method; `explainer` runs them all, `page` shows the result as one HTML file.
"""


def __getattr__(name: str):
    if name == "explain":
        from zoo.training.explanation.explainer import explain
        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
