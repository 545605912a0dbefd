"""What is searched of each builder: a function of keras-tuner's `hp` and of the builder's arguments, returning those chosen.

Lists, which keras-tuner cannot choose from, follow from a number that is chosen.
"""

_SPACES = {}  # whether a builder is of the zoo, and its name: its space


def _key(module, name):
    return module.partition(".")[0] == "zoo", name


def space_of(builder):
    """Return the space of a builder, a function (hp, arguments) -> arguments, or None."""
    return _SPACES.get(_key(builder.__module__, builder.__name__))


def architecture(*builders):
    """Register the decorated function (hp, arguments) -> arguments as the space of the builders of these names.

    A builder of your own gets its space with the same decorator, in a file that `--space` names or beside the builder.
    """
    def decorate(function):
        _SPACES.update({_key(function.__module__, name): function for name in builders})
        return function
    return decorate


def choice(hp, name, values, own):
    """Return a choice among `values` and `own`, which is the default."""
    own = type(values[0])(own)  # 1 may stand for 1.0, and keras-tuner wants one type
    return hp.Choice(name, sorted({*values, own}), default=own)


def share(hp, name, own, high=0.6):
    """Return a rate from 0 to `high`, by default `own`."""
    return hp.Float(name, 0.0, max(high, own), default=own)


@architecture("lenet5")
def lenet5(hp, args):
    return {"activation": choice(hp, "activation", ("tanh", "relu"), args["activation"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("lenet")
def lenet(hp, args):
    return {"pool": choice(hp, "pool", ("avg", "max"), args["pool"]), "dropout": share(hp, "dropout", args["dropout"])}


@architecture("mlp", "text_mlp")
def mlp(hp, args):
    own = tuple(args["hidden"])
    first = own[0] if own else 128
    depth = choice(hp, "depth", (1, 2, 3), len(own))
    width = choice(hp, "width", (64, 128, 256, 512), first)
    hidden = own if (depth, width) == (len(own), first) else (width,) * depth
    found = {"hidden": hidden, "dropout": share(hp, "dropout", args["dropout"])}
    return found | _activation(hp, args) if "activation" in args else found


def _activation(hp, args):
    return {"activation": choice(hp, "activation", ("relu", "tanh", "sigmoid"), args["activation"])}


@architecture("simple_cnn")
def simple_cnn(hp, args):
    return {"filters": _scaled(hp, args["filters"]), "dropout": share(hp, "dropout", args["dropout"])}


@architecture("conv_only")
def conv_only(hp, args):
    return {"filters": _scaled(hp, args["filters"]), "kernel": choice(hp, "kernel", (3, 5, 7), args["kernel"]),
            "units": choice(hp, "units", (0, 64, 128, 256), args["units"]), "dropout": share(hp, "dropout", args["dropout"])}


def _scaled(hp, filters):
    """All counts of filters times one factor."""
    factor = hp.Choice("filters_factor", [0.5, 1.0, 1.5, 2.0], default=1.0)
    return tuple(max(round(n * factor), 1) for n in filters)


@architecture("fashion_cnn")
def fashion_cnn(hp, args):
    return {"filters": choice(hp, "filters", (8, 16, 32, 64), args["filters"]),
            "units": choice(hp, "units", (64, 128, 256), args["units"]), "dropout": share(hp, "dropout", args["dropout"])}


@architecture("vgg")
def vgg(hp, args):
    return {"filters": _scaled(hp, args["filters"]), "units": choice(hp, "units", (256, 1024, 4096), args["units"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("alexnet", "googlenet", "inception_v3", "inception_v4")
def wide(hp, args):
    return {"width": choice(hp, "width", (0.25, 0.5, 0.75, 1.0), args["width"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("resnet", "resnet_cifar")
def resnet(hp, args):
    own = args["width"]
    found = {"width": choice(hp, "width", (own // 2, own * 2), own), "dropout": share(hp, "dropout", args["dropout"])}
    return found | ({"n": choice(hp, "n", (2, 3, 5, 7), args["n"])} if "n" in args else {})


@architecture("densenet")
def densenet(hp, args):
    return {"growth_rate": choice(hp, "growth_rate", (12, 24, 32), args["growth_rate"]),
            "compression": choice(hp, "compression", (0.5, 0.75, 1.0), args["compression"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("mobilenet_v1", "mobilenet_v2")
def mobilenet(hp, args):
    return {"alpha": choice(hp, "alpha", (0.25, 0.5, 0.75, 1.0), args["alpha"]),
            "dropout": share(hp, "dropout", args["dropout"])}


@architecture("small_inception")
def dropout_only(hp, args):
    return {"dropout": share(hp, "dropout", args["dropout"])}


@architecture("textcnn")
def textcnn(hp, args):
    own = tuple(args["windows"])
    first = choice(hp, "first_window", (1, 2, 3, 4), own[0])
    count = choice(hp, "windows_count", (1, 2, 3), len(own))
    windows = own if (first, count) == (own[0], len(own)) else tuple(range(first, first + count))
    vectors = args["vectors"] is not None  # have the size that they have
    return {"windows": windows, "filters": choice(hp, "filters", (50, 100, 200), args["filters"]),
            **({} if vectors else {"embedding": choice(hp, "embedding", (50, 100, 300), args["embedding"])}),
            "embedding_dropout": share(hp, "embedding_dropout", args["embedding_dropout"]),
            "dropout": share(hp, "dropout", args["dropout"])}
