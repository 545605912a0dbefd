def space(hp, recipe):
    return {"batch": hp.Choice("batch", [32, 64], default=recipe.batch),
            "learning_rate": hp.Float("rate", 1e-3, 1e-1, sampling="log")}
