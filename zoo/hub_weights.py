"""ImageNet weights on the Hugging Face Hub: where they are, what they expect, what was published.

`PUBLISHED` is the one table of them: `zoo list --weights`, docs/networks.md and the cards are made
from it. `download` gets a file once, with huggingface_hub into its cache, and checks its SHA-256;
`load_into` reads it with safetensors, without PyTorch. Nothing in such a file is executed.

A SHA-256 in the table is the one that the Hub states for the file at the revision, or, where the
revision is None, at the head of the repository. Where the table has none, a download is compared
with the SHA-256 that the Hub states for it, which then stands in the card.

A layout returns the names that another library gives the weighted layers of a network of the zoo,
in the same order. Arrays are transposed: kernels from (out, in, height, width) to (height, width,
in, out), matrices from (out, in) to (in, out).
"""
import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import hub
from zoo.errors import UsageError, UserError

if TYPE_CHECKING:
    import keras
    import numpy as np

IMAGENET = "imagenet"  # the weights of a network of which the table has one set
TORCHVISION = "imagenet_torchvision"  # of one for which keras.applications has "imagenet"
CLASSES = 1000
Layout = Callable[[Sequence[str]], list[str]]


# Layouts

_BLOCK = re.compile(r"stage(\d+)_(?:block|layer)(\d+)_(\w+)")
_RESNET = {"a_conv": "conv1", "a_bn": "bn1", "b_conv": "conv2", "b_bn": "bn2", "c_conv": "conv3",
           "c_bn": "bn3", "shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1",
           "se_reduce": "se.fc1", "se_expand": "se.fc2"}


def _block(name: str) -> Sequence[str]:
    """Return the stage, block and part of a layer's name; raise KeyError if it has none."""
    found = _BLOCK.fullmatch(name)
    if not found:
        raise KeyError(name)
    return found.groups()


def resnet(names: Sequence[str]) -> list[str]:
    """ResNet, ResNeXt, Wide ResNet and SENet of torchvision and timm."""
    ends = {"stem_conv": "conv1", "stem_bn": "bn1", "logits": "fc"}

    def translate(name):
        if name in ends:
            return ends[name]
        stage, block, part = _block(name)
        return f"layer{stage}.{int(block) - 1}.{_RESNET[part]}"
    return [translate(name) for name in names]


def densenet(names: Sequence[str]) -> list[str]:
    """DenseNet of timm and torchvision."""
    ends = {"stem_conv": "features.conv0", "stem_bn": "features.norm0",
            "stage4_bn": "features.norm5", "logits": "classifier"}
    parts = {"a_bn": "norm1", "a_conv": "conv1", "b_bn": "norm2", "b_conv": "conv2"}

    def translate(name):
        if name in ends:
            return ends[name]
        if name.startswith("transition"):
            transition, part = name.split("_")
            return f"features.{transition}.{'norm' if part == 'bn' else 'conv'}"
        stage, layer, part = _block(name)
        return f"features.denseblock{stage}.denselayer{layer}.{parts[part]}"
    return [translate(name) for name in names]


def vgg(names: Sequence[str]) -> list[str]:
    """VGG of timm, which counts convolutions, batch normalisations, relus and poolings."""
    ends = {"fc1": "pre_logits.fc1", "fc2": "pre_logits.fc2", "logits": "head.fc"}
    has_bn = "stage1_bn1" in names
    position, theirs = 0, []
    for name in names:
        if name in ends:
            theirs.append(ends[name])
            continue
        if re.fullmatch(r"stage[2-9]_conv1", name):
            position += 1  # the pooling
        theirs.append(f"features.{position}")
        position += 1 if has_bn and "conv" in name else 2  # batch normalisation; or relu too
    return theirs


def alexnet(names: Sequence[str]) -> list[str]:
    """AlexNet of torchvision."""
    theirs = {"stage1_conv": "features.0", "stage2_conv": "features.3",
              "stage3_conv": "features.6", "stage4_conv": "features.8",
              "stage5_conv": "features.10", "fc1": "classifier.1", "fc2": "classifier.4",
              "logits": "classifier.6"}
    return [theirs[name] for name in names]


def _modules(names, modules, ends):
    """Translate names by `modules`, {module of ours: (theirs, {branch: theirs})}, and `ends`."""
    def translate(name):
        if name in ends:
            return ends[name]
        for module, (theirs, branches) in modules.items():
            if name.startswith(f"{module}_"):
                branch, kind = name.removeprefix(f"{module}_").rsplit("_", 1)
                return f"{theirs}.{branches[branch]}.{kind}"
        raise KeyError(name)
    return [translate(name) for name in names]


def _numbered(theirs: str, ours: str, count: int, first: int = 1) -> dict[str, str]:
    """{ours + letter: theirs + number} for `count` steps of a branch."""
    return {f"{ours}{letter}": f"{theirs}{number}"
            for number, letter in enumerate("abcdefg"[:count], first)}


_V3_35 = {"b1a": "branch1x1", **_numbered("branch5x5_", "b2", 2),
          **_numbered("branch3x3dbl_", "b3", 3), "b4b": "branch_pool"}
_V3_17 = {"b1a": "branch1x1", **_numbered("branch7x7_", "b2", 3),
          **_numbered("branch7x7dbl_", "b3", 5), "b4b": "branch_pool"}
_V3_8 = {"b1a": "branch1x1", "b2a": "branch3x3_1", "b2b_b1a": "branch3x3_2a",
         "b2b_b2a": "branch3x3_2b", "b3a": "branch3x3dbl_1", "b3b": "branch3x3dbl_2",
         "b3c_b1a": "branch3x3dbl_3a", "b3c_b2a": "branch3x3dbl_3b", "b4b": "branch_pool"}
_V3_MODULES = {
    **{f"stage1_block{n}": (f"Mixed_5{letter}", _V3_35) for n, letter in enumerate("bcd", 1)},
    "stage2_reduction": ("Mixed_6a", {"b1a": "branch3x3", **_numbered("branch3x3dbl_", "b2", 3)}),
    **{f"stage2_block{n}": (f"Mixed_6{letter}", _V3_17) for n, letter in enumerate("bcde", 1)},
    "stage3_reduction": ("Mixed_7a", {**_numbered("branch3x3_", "b1", 2),
                                      **_numbered("branch7x7x3_", "b2", 4)}),
    **{f"stage3_block{n}": (f"Mixed_7{letter}", _V3_8) for n, letter in enumerate("bc", 1)},
}
_V3_STEM = {"a": "Conv2d_1a_3x3", "b": "Conv2d_2a_3x3", "c": "Conv2d_2b_3x3", "e": "Conv2d_3b_1x1",
            "f": "Conv2d_4a_3x3"}


def inception_v3(names: Sequence[str]) -> list[str]:
    """Inception v3 of torchvision and timm."""
    stem = {f"stem_{ours}_{kind}": f"{theirs}.{kind}" for ours, theirs in _V3_STEM.items()
            for kind in ("conv", "bn")}
    return _modules(names, _V3_MODULES, {**stem, "logits": "fc"})


_V4_A = {"b1a": "branch0", **_numbered("branch1.", "b2", 2, 0), **_numbered("branch2.", "b3", 3, 0),
         "b4b": "branch3.1"}
_V4_B = {"b1a": "branch0", **_numbered("branch1.", "b2", 3, 0), **_numbered("branch2.", "b3", 5, 0),
         "b4b": "branch3.1"}
_V4_C = {"b1a": "branch0", "b2a": "branch1_0", "b2b_b1a": "branch1_1a", "b2b_b2a": "branch1_1b",
         **_numbered("branch2_", "b3", 3, 0), "b3d_b1a": "branch2_3a", "b3d_b2a": "branch2_3b",
         "b4b": "branch3.1"}
_V4_MODULES = {
    "stem_block1": ("features.3", {"b2a": "conv"}),
    "stem_block2": ("features.4", {**_numbered("branch0.", "b1", 2, 0),
                                   **_numbered("branch1.", "b2", 4, 0)}),
    "stem_block3": ("features.5", {"b1a": "conv"}),
    **{f"stage1_block{n}": (f"features.{5 + n}", _V4_A) for n in range(1, 5)},
    "stage2_reduction": ("features.10", {"b1a": "branch0", **_numbered("branch1.", "b2", 3, 0)}),
    **{f"stage2_block{n}": (f"features.{10 + n}", _V4_B) for n in range(1, 8)},
    "stage3_reduction": ("features.18", {**_numbered("branch0.", "b1", 2, 0),
                                         **_numbered("branch1.", "b2", 4, 0)}),
    **{f"stage3_block{n}": (f"features.{18 + n}", _V4_C) for n in range(1, 4)},
}


def inception_v4(names: Sequence[str]) -> list[str]:
    """Inception v4 of timm."""
    stem = {f"stem_{letter}_{kind}": f"features.{number}.{kind}"
            for number, letter in enumerate("abc") for kind in ("conv", "bn")}
    return _modules(names, _V4_MODULES, {**stem, "logits": "last_linear"})


def googlenet(names: Sequence[str]) -> list[str]:
    """GoogLeNet of torchvision."""
    branches = {"b1a": "branch1", **_numbered("branch2.", "b2", 2, 0),
                **_numbered("branch3.", "b3", 2, 0), "b4b": "branch4.1"}
    modules = {f"stage{stage}_{letter}": (f"inception{stage}{letter}", branches)
               for stage, letters in ((3, "ab"), (4, "abcde"), (5, "ab")) for letter in letters}
    stem = {f"stem_{n}_{kind}": f"conv{n}.{kind}" for n in (1, 2, 3) for kind in ("conv", "bn")}
    return _modules(names, modules, {**stem, "logits": "fc"})


# The table

@dataclasses.dataclass(frozen=True)
class Published:
    """A file of weights on the Hub.

    Attributes:
        repository: its id on the Hub.
        layout: the names of the layers in the file.
        revision: a commit of the repository; None for its head.
        sha256: of the file; None if it is not known before the download.
        top1, top5: accuracy on ImageNet's validation images in percent, as `source` publishes it.
        licence: of the weights.
        resize: pixels of the shorter side, from which the centre is cut out.
        crop: pixels of each side of the centre.
        interpolation: of the resizing for the published accuracy; the zoo's is always bilinear.
        mean, std: of RGB pixels on a scale of 0 to 1.
        file: its name in the repository.
        unused: the first part of the names of tensors that are of use in training only.
    """

    repository: str
    layout: Layout
    revision: str | None
    sha256: str | None
    top1: float
    top5: float
    source: str
    licence: str = "bsd-3-clause"
    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    file: str = "model.safetensors"
    unused: tuple[str, ...] = ()


_TV = "torchvision 0.29, docs.pytorch.org/vision/stable/models.html"
_TIMM = "timm, results/results-imagenet.csv of huggingface/pytorch-image-models"
_HALVES: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
_INCEPTION_TV: dict[str, Any] = {"resize": 342, "crop": 299, **_HALVES}
# torchvision's weights in files that a third party uploaded and gave no licence
_COPIES: dict[str, Any] = {"licence": "none stated by the uploader; torchvision's is bsd-3-clause"}
_COPIES_REVISION = "1cb71ed300bf5b1913894c0f000a0146cfb4b431"

# (our name, value of `weights`): the file
PUBLISHED: dict[tuple[str, str], Published] = {
    ("resnet18", IMAGENET): Published(
        "timm/resnet18.tv_in1k", resnet, "a987fd6b60f845221bfff84b6f0191273ba56ead",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81", 69.758, 89.078, _TV),
    ("resnet34", IMAGENET): Published(
        "timm/resnet34.tv_in1k", resnet, "c983eba7f5e69bc3548a626d1b0b0b914e5de3a6", None,
        73.314, 91.420, _TV),
    ("resnet50_v1_5", IMAGENET): Published(
        "timm/resnet50.tv_in1k", resnet, "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888", 76.130, 92.862, _TV),
    ("resnet101_v1_5", IMAGENET): Published(
        "timm/resnet101.tv_in1k", resnet, None, None, 77.374, 93.546, _TV),
    ("resnet152_v1_5", IMAGENET): Published(
        "timm/resnet152.tv_in1k", resnet, None,
        "15897077afdf4d6334dc0c3f8e6fb483afb3faa9298c139f3c6eb29bca6ae5b2", 78.312, 94.046, _TV),
    ("resnext50_32x4d", IMAGENET): Published(
        "timm/resnext50_32x4d.tv_in1k", resnet, "ac4eef0c61cc63cb64d8c416bf9b518f757bed1f",
        "c0d85cba49c0e9dedbcf6d4e572e2c5ea5eb68e9d64d0564811fd54d4f72939a", 77.618, 93.698, _TV),
    ("wide_resnet50_2", IMAGENET): Published(
        "timm/wide_resnet50_2.tv_in1k", resnet, None,
        "df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c", 78.468, 94.086, _TV),
    ("se_resnet50_v1_5", IMAGENET): Published(
        "timm/seresnet50.a2_in1k", resnet, "b4065e3941a5fb1d85511df16c0e8fc3c7c53596",
        "ff82ee22e5b6c607fd984f63b83a9a8b55787b2703c4683a5cd51297d27e9460", 80.102, 94.720, _TIMM,
        licence="apache-2.0", resize=235, interpolation="bicubic"),
    ("vgg11", IMAGENET): Published(
        "timm/vgg11.tv_in1k", vgg, "38b46049b490ec2bdb6d4d32b8354c74977f3347",
        "682c023808812148d4e60c76d80ad83dbeaf5d50eb1a952a0b836895003151e5", 69.020, 88.628, _TV),
    ("vgg13", IMAGENET): Published(
        "timm/vgg13.tv_in1k", vgg, "398c5a92d29787ceca04d7b45c8a07efd8f934f7", None,
        69.928, 89.246, _TV),
    ("vgg16", TORCHVISION): Published(
        "timm/vgg16.tv_in1k", vgg, None,
        "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8", 71.592, 90.382, _TV),
    ("vgg19", TORCHVISION): Published(
        "timm/vgg19.tv_in1k", vgg, None,
        "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669", 72.376, 90.876, _TV),
    ("vgg11_bn", IMAGENET): Published(
        "timm/vgg11_bn.tv_in1k", vgg, "1eb350bbb712e01a71a259d3296ac996539a9f0e", None,
        70.370, 89.810, _TV),
    ("vgg13_bn", IMAGENET): Published(
        "timm/vgg13_bn.tv_in1k", vgg, "ed6e64d6167edbe08697cb4d7ceaef5077972131",
        "7dae235e35772693cd527e7ac9ef8f6594707a14a8d26aabdb83c0baa6847861", 71.586, 90.374, _TV),
    ("vgg16_bn", IMAGENET): Published(
        "timm/vgg16_bn.tv_in1k", vgg, "e00c01e7cee168262dcba6428dc4a8f41e27e965",
        "88bbedbc8e780413736db38ac4efd41b06fc0e93fd5b8879b584bba63a950129", 73.360, 91.516, _TV),
    ("vgg19_bn", IMAGENET): Published(
        "timm/vgg19_bn.tv_in1k", vgg, "5df00d8510c2b1bd2ab67da8b2ef47034f30a7fa",
        "f8249087e63bae61c6166bb23d7c26efe1b2a43fd9fb5cd60ac6ce00535ba312", 74.218, 91.842, _TV),
    ("densenet121", TORCHVISION): Published(
        "timm/densenet121.tv_in1k", densenet, None,
        "c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358", 74.434, 91.972, _TV,
        licence="apache-2.0"),
    ("densenet161", IMAGENET): Published(
        "timm/densenet161.tv_in1k", densenet, "359c7ecf29a2da61381f4725fe59889ca80ad29b", None,
        77.138, 93.560, _TV, licence="apache-2.0"),
    ("densenet169", TORCHVISION): Published(
        "timm/densenet169.tv_in1k", densenet, "8c033a1f91d746e37e23229bf0445fff2125c89e", None,
        75.600, 92.806, _TV, licence="apache-2.0"),
    ("densenet201", TORCHVISION): Published(
        "timm/densenet201.tv_in1k", densenet, None, None, 76.896, 93.370, _TV,
        licence="apache-2.0"),
    ("inception_v3_torchvision", IMAGENET): Published(
        "timm/inception_v3.tv_in1k", inception_v3, None,
        "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb", 77.294, 93.450, _TV,
        licence="apache-2.0", unused=("AuxLogits",), **_INCEPTION_TV),
    ("inception_v4_timm", IMAGENET): Published(
        "timm/inception_v4.tf_in1k", inception_v4, "24edbb8f3ca9aab790ab91929a4101165581b168",
        "a756a086851c8d5a8de135ec15c76b90ea56cb5aef450e3299107e659e725bb1", 80.144, 94.982, _TIMM,
        licence="apache-2.0", resize=341, crop=299, interpolation="bicubic", **_HALVES),
    ("alexnet_torchvision", IMAGENET): Published(
        "theunnecessarythings/vision_models", alexnet, _COPIES_REVISION,
        "7372cbb9161c5253fcb272a1839229e282f2533e540449fb2907ee32d9ef3279", 56.522, 79.066, _TV,
        file="alexnet.safetensors", **_COPIES),
    ("googlenet_torchvision", IMAGENET): Published(
        "theunnecessarythings/vision_models", googlenet, _COPIES_REVISION,
        "d65208bbda6eb067746e1d3ecaa7752932accabf5083fabf8f912eecbae6484c", 69.778, 89.530, _TV,
        file="googlenet.safetensors", unused=("aux1", "aux2"), **_COPIES, **_HALVES),
}


def values(name: str) -> list[str]:
    """Return the values of `weights` for which the table has a file for the network `name`."""
    return [value for network, value in PUBLISHED if network == name]


def card(published: Published) -> dict[str, Any]:
    """Return what a card says of a file: its "weights_file" and its "published" accuracy."""
    sha256 = published.sha256
    if not sha256:
        with contextlib.suppress(UserError):
            sha256 = hub.stated_sha256(
                hub.cached(published.repository, published.file, published.revision))
    return {
        "weights_file": {
            "repository": published.repository, "file": published.file,
            "revision": published.revision, "sha256": sha256, "licence": published.licence,
            "preprocessing": {"resize": published.resize, "crop": published.crop,
                              "interpolation": published.interpolation,
                              "mean": list(published.mean), "std": list(published.std)}},
        "published": {"top1": published.top1, "top5": published.top5, "source": published.source,
                      "measured_here": False}}


# Files

def download(published: Published) -> Path:
    """Return the file of weights, downloaded once to the cache of huggingface_hub.

    Raises:
        zoo.errors.UserError: if huggingface_hub is not installed, the file cannot be downloaded,
            or its SHA-256 is not the one in the table or, without one, that the Hub states.
    """
    path = hub.download(published.repository, published.file, published.revision)
    hub.check_sha256(path, published.sha256 or hub.stated_sha256(path),
                     f"{published.file} of huggingface.co/{published.repository}")
    return path


def load_into(model: "keras.Model", published: Published, path: Path) -> None:
    """Assign the tensors of a file to a network.

    The layer "logits" keeps its random weights if it has another number of classes, or is absent.

    Args:
        model: a network of the zoo that `published.layout` describes.
        published: a row of the table.
        path: of the file.

    Raises:
        zoo.errors.UserError: if the file is damaged, a tensor is missing or is of no use.
        zoo.errors.UsageError: if a tensor does not fit; the message names the layer. Nothing is
            assigned in any of these cases.
    """
    with hub.packages():
        from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework="np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            sources = match(model, published, shapes)
            arrays = {ours: file.get_tensor(theirs) for ours, theirs in sources.items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"Cannot read {path}: {' '.join(str(error).split())}.") from None
    for weight in model.weights:
        if weight.path in arrays:
            weight.assign(_transposed(arrays[weight.path], model, weight))


def match(model: "keras.Model", published: Published,
          shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return {path of a weight of `model`: name of the tensor for it}.

    Args:
        model, published: as for `load_into`.
        shapes: {name of a tensor: its shape}.

    Raises:
        zoo.errors.UserError: if a tensor is missing or is of no use.
        zoo.errors.UsageError: if a tensor does not fit.
    """
    spoken = f"{published.file} of {published.repository}"
    layers = [layer for layer in model.layers if layer.weights]
    try:
        theirs = published.layout([layer.name for layer in layers])
    except KeyError:
        raise UsageError(f"The published weights of {model.name} are for its default options."
                         ) from None
    left_out = _classifier(published.layout, {layer.name for layer in layers} - {"logits"})
    pairs, used = {}, set()
    for layer, prefix in zip(layers, theirs, strict=True):
        for weight in layer.weights:
            name = f"{prefix}.{_SUFFIXES[weight.name]}"
            used.add(name)
            if name not in shapes:
                raise UserError(f"{spoken} does not hold {name!r}, for {layer.name!r} of "
                                f"{model.name}.")
            if _fits(shapes[name], model, weight):
                pairs[weight.path] = name
            elif layer.name != "logits":
                raise UsageError(
                    f"{name!r} of {spoken} ({_sizes(shapes[name])}) does not fit {layer.name!r} "
                    f"({_sizes(weight.shape)}). The weights are for the default options and, with "
                    f"fully connected layers, images of {published.crop}x{published.crop}.")
    unused = [name for name in shapes if name not in used
              and not name.endswith("num_batches_tracked")
              and name.split(".")[0] not in published.unused
              and name.rpartition(".")[0] not in left_out]
    if unused:
        raise UsageError(f"{spoken} holds {unused[0]!r} and {len(unused) - 1} more tensors that "
                         f"{model.name} has no layer for. The weights are for its default options.")
    return pairs


def _classifier(layout: Layout, kept: set[str]) -> set[str]:
    """Return the names in the file of the classifier's layers that are not `kept`."""
    names = set()
    for name in {"fc1", "fc2", "logits"} - kept:
        with contextlib.suppress(KeyError):  # it has no such layer
            names.update(layout([name]))
    return names


_SUFFIXES = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
             "moving_mean": "running_mean", "moving_variance": "running_var"}


def _fits(shape, model, weight):
    """Whether a tensor of `shape` fits, transposed; a kernel that covers a map fits a matrix."""
    ours = tuple(weight.shape)
    if weight.name != "kernel":
        return tuple(shape) == ours
    if len(ours) == 4:
        return len(shape) == 4 and (*shape[2:], shape[1], shape[0]) == ours
    if len(shape) == 4 and shape[2:] != (1, 1):
        height, width, channels = model.get_layer("flatten").input.shape[1:]
        if (channels, height, width) != tuple(shape[1:]):
            return False
    size = 1
    for side in shape[1:]:
        size *= side
    return (size, shape[0]) == ours


def _transposed(array: "np.ndarray", model: "keras.Model", weight: Any) -> "np.ndarray":
    """Return a tensor of PyTorch in the order of Keras."""
    if weight.name != "kernel":
        return array
    layer = weight.path.split("/")[-2]
    if array.ndim == 2 and layer == "fc1":  # its input is a flattened map, channels first
        height, width, channels = model.get_layer("flatten").input.shape[1:]
        array = array.reshape(-1, channels, height, width)
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        return array if len(weight.shape) == 4 else array.reshape(weight.shape)
    return array.T


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
