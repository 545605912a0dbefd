"""The search space of each builder: a function of keras-tuner's `hp` and the builder's arguments.

It returns the arguments that it chose. keras-tuner cannot choose lists: they are derived from
numbers that it chooses.
"""
from collections.abc import Callable, Sequence
from typing import Any

from keras_tuner import HyperParameters

Args = dict[str, Any]  # the arguments of a builder
Space = Callable[[HyperParameters, Args], Args]

_SPACES: dict[tuple[bool, str], Space] = {}  # by whether the builder is the zoo's, and its name


def _key(module, name):
    return module.partition(".")[0] == "zoo", name


def space_of(builder: Callable) -> Space | None:
    """Return the search space of a builder, or None if it has none."""
    return _SPACES.get(_key(builder.__module__, builder.__name__))


def architecture(*builders: str) -> Callable[[Space], Space]:
    """Register the decorated function as the search space of the builders with these names.

    A builder of your own gets its space by the same decorator, in the file that `--space` names or
    beside the builder.
    """
    def decorate(function):
        _SPACES.update({_key(function.__module__, name): function for name in builders})
        return function
    return decorate


def choice(hp: HyperParameters, name: str, values: Sequence, default: Any) -> Any:
    """Return a choice among `values` and `default`."""
    default = type(values[0])(default)  # keras-tuner needs one type, and 1 may stand for 1.0
    return hp.Choice(name, sorted({*values, default}), default=default)


def rate(hp: HyperParameters, name: str, default: float, high: float = 0.6) -> float:
    """Return a rate from 0 to `high`, or to `default` if that is larger."""
    return hp.Float(name, 0.0, max(high, default), default=default)


@architecture("lenet5")
def lenet5(hp: HyperParameters, args: Args) -> Args:
    return {"activation": choice(hp, "activation", ("tanh", "relu"), args["activation"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("lenet")
def lenet(hp: HyperParameters, args: Args) -> Args:
    return {"pool": choice(hp, "pool", ("avg", "max"), args["pool"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("mlp", "text_mlp")
def mlp(hp: HyperParameters, args: Args) -> Args:
    default = tuple(args["hidden"])
    first = default[0] if default else 128
    depth = choice(hp, "depth", (1, 2, 3), len(default))
    width = choice(hp, "width", (64, 128, 256, 512), first)
    unchanged = (depth, width) == (len(default), first)
    chosen = {"hidden": default if unchanged else (width,) * depth,
              "dropout": rate(hp, "dropout", args["dropout"])}
    if "activation" in args:
        chosen["activation"] = choice(hp, "activation", ("relu", "tanh", "sigmoid"),
                                      args["activation"])
    return chosen


@architecture("simple_cnn")
def simple_cnn(hp: HyperParameters, args: Args) -> Args:
    return {"filters": _scale(hp, args["filters"]), "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("conv_only")
def conv_only(hp: HyperParameters, args: Args) -> Args:
    return {"filters": _scale(hp, args["filters"]),
            "kernel": choice(hp, "kernel", (3, 5, 7), args["kernel"]),
            "units": choice(hp, "units", (0, 64, 128, 256), args["units"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


def _scale(hp, filters):
    """Return all numbers of filters times one factor."""
    factor = hp.Choice("filters_factor", [0.5, 1.0, 1.5, 2.0], default=1.0)
    return tuple(max(round(n * factor), 1) for n in filters)


@architecture("fashion_cnn")
def fashion_cnn(hp: HyperParameters, args: Args) -> Args:
    return {"filters": choice(hp, "filters", (8, 16, 32, 64), args["filters"]),
            "units": choice(hp, "units", (64, 128, 256), args["units"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("vgg")
def vgg(hp: HyperParameters, args: Args) -> Args:
    return {"filters": _scale(hp, args["filters"]),
            "units": choice(hp, "units", (256, 1024, 4096), args["units"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("alexnet", "googlenet", "googlenet_torchvision", "inception_resnet_v2",
              "inception_v3", "inception_v4", "nin", "squeezenet", "xception", "zfnet")
def wide(hp: HyperParameters, args: Args) -> Args:
    return {"width": choice(hp, "width", (0.25, 0.5, 0.75, 1.0), args["width"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("resnet", "resnet_cifar", "resnet_v2", "resnet_v2_cifar", "resnext", "se_resnet",
              "wide_resnet")
def resnet(hp: HyperParameters, args: Args) -> Args:
    width = args["width"]
    chosen = {"width": choice(hp, "width", (width // 2, width * 2), width),
              "dropout": rate(hp, "dropout", args["dropout"])}
    if "n" in args:
        chosen["n"] = choice(hp, "n", (2, 3, 5, 7), args["n"])
    return chosen


@architecture("wide_resnet_cifar")
def wide_resnet_cifar(hp: HyperParameters, args: Args) -> Args:
    return {"depth": choice(hp, "depth", (10, 16, 22, 28), args["depth"]),
            "width": choice(hp, "width", (1, 2, 4, 8), args["width"]),
            "block_dropout": rate(hp, "block_dropout", args["block_dropout"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("densenet")
def densenet(hp: HyperParameters, args: Args) -> Args:
    return {"growth_rate": choice(hp, "growth_rate", (12, 24, 32), args["growth_rate"]),
            "compression": choice(hp, "compression", (0.5, 0.75, 1.0), args["compression"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("mobilenet_v1", "mobilenet_v2", "mobilenet_v3")
def mobilenet(hp: HyperParameters, args: Args) -> Args:
    return {"alpha": choice(hp, "alpha", (0.25, 0.5, 0.75, 1.0), args["alpha"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("efficientnet")
def efficientnet(hp: HyperParameters, args: Args) -> Args:
    return {"width": choice(hp, "width", (0.25, 0.5, 0.75, 1.0), args["width"]),
            "depth": choice(hp, "depth", (0.5, 0.75, 1.0), args["depth"]),
            "drop_connect": rate(hp, "drop_connect", args["drop_connect"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("shufflenet_v2")
def shufflenet_v2(hp: HyperParameters, args: Args) -> Args:
    factor = hp.Choice("filters_factor", [0.5, 1.0, 1.5, 2.0], default=1.0)
    return {"filters": tuple(2 * max(round(n * factor / 2), 1) for n in args["filters"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("small_inception")
def dropout_only(hp: HyperParameters, args: Args) -> Args:
    return {"dropout": rate(hp, "dropout", args["dropout"])}


@architecture("textcnn")
def textcnn(hp: HyperParameters, args: Args) -> Args:
    default = tuple(args["windows"])
    first = choice(hp, "first_window", (1, 2, 3, 4), default[0])
    count = choice(hp, "windows_count", (1, 2, 3), len(default))
    unchanged = (first, count) == (default[0], len(default))
    chosen = {"windows": default if unchanged else tuple(range(first, first + count)),
              "filters": choice(hp, "filters", (50, 100, 200), args["filters"])}
    if args["vectors"] is None:  # word vectors from a file determine their size
        chosen["embedding"] = choice(hp, "embedding", (50, 100, 300), args["embedding"])
    return chosen | {"embedding_dropout": rate(hp, "embedding_dropout", args["embedding_dropout"]),
                     "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("dpcnn")
def dpcnn(hp: HyperParameters, args: Args) -> Args:
    chosen = {"blocks": choice(hp, "blocks", (2, 4, 7), args["blocks"]),
              "filters": choice(hp, "filters", (50, 100, 250), args["filters"]),
              "embedding_dropout": rate(hp, "embedding_dropout", args["embedding_dropout"]),
              "dropout": rate(hp, "dropout", args["dropout"])}
    if args["vectors"] is None:
        chosen["embedding"] = choice(hp, "embedding", (50, 100, 300), args["embedding"])
    return chosen


@architecture("char_cnn")
def char_cnn(hp: HyperParameters, args: Args) -> Args:
    return {"filters": choice(hp, "filters", (64, 128, 256), args["filters"]),
            "units": choice(hp, "units", (256, 512, 1024), args["units"]),
            "deviation": choice(hp, "deviation", (0.02, 0.05), args["deviation"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("vdcnn")
def vdcnn(hp: HyperParameters, args: Args) -> Args:
    return {"filters": _scale(hp, args["filters"]),
            "pooling": choice(hp, "pooling", ("max", "kmax", "convolution"), args["pooling"]),
            "shortcut": hp.Boolean("shortcut", default=args["shortcut"]),
            "k": choice(hp, "k", (1, 4, 8), args["k"]),
            "units": choice(hp, "units", (256, 512, 2048), args["units"]),
            "dropout": rate(hp, "dropout", args["dropout"])}


@architecture("fasttext")
def fasttext(hp: HyperParameters, args: Args) -> Args:
    chosen = {"buckets": choice(hp, "buckets", (0, 20_000, 100_000), args["buckets"]),
              "dropout": rate(hp, "dropout", args["dropout"])}
    if args["vectors"] is None:
        chosen["embedding"] = choice(hp, "embedding", (10, 50, 100), args["embedding"])
    return chosen
