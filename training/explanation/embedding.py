"""Maps of examples: their penultimate features in the plane, by PCA and t-SNE of scikit-learn.

K. Pearson, "On Lines and Planes of Closest Fit to Systems of Points in Space", Philosophical
Magazine 2, 1901, https://doi.org/10.1080/14786440109462720; L. van der Maaten and G. Hinton,
"Visualizing Data using t-SNE", JMLR 9, 2008, https://www.jmlr.org/papers/v9/vandermaaten08a.html
"""
import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

_LEAST = 10       # examples of a map
_PERPLEXITY = 30  # scikit-learn's; a third of the examples if there are fewer than 91


def maps(features: np.ndarray) -> dict[str, np.ndarray]:
    """Return positions in the plane for each example.

    Args:
        features: (n, features), the input of the last layer.

    Returns:
        {"PCA": float (n, 2), the coordinates along the two directions of the largest variance;
        "t-SNE": float (n, 2), where neighbours among the features are neighbours}. Empty for fewer
        than 10 examples, or features that differ in one direction at most.
    """
    features = np.asarray(features, "float64")
    if len(features) < _LEAST or np.linalg.matrix_rank(features - features.mean(axis=0)) < 2:
        return {}
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    return {"PCA": PCA(2, svd_solver="full").fit_transform(features),
            "t-SNE": TSNE(perplexity=perplexity, init="pca", random_state=0
                          ).fit_transform(features).astype("float64")}
