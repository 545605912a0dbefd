"""The networks of torchvision and timm that the files of `zoo.hub_weights.PUBLISHED` belong to.

`python tests/hub_peers.py FOLDER ROW...` needs torch, torchvision and timm. For every row, "name
repository file resize crop", it makes the peer with random weights, batch statistics too, saves it
with safetensors as the Hub's cache in FOLDER keeps it, writes what it answers on photographs to
NAME.npz, and prints the name and the SHA-256.
`python tests/hub_peers.py --tensors` writes tests/data/hub_tensors.json.gz, the names and shapes of
the tensors of every file.
"""
import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

TENSORS = Path(__file__).parent / "data" / "hub_tensors.json.gz"

# "tv": torchvision's name, for the network or its preprocessing; "timm": timm's
PEERS = {
    "resnet18": {"timm": "resnet18", "tv": "resnet18"},
    "resnet34": {"timm": "resnet34", "tv": "resnet34"},
    "resnet50_v1_5": {"timm": "resnet50", "tv": "resnet50"},
    "resnet101_v1_5": {"timm": "resnet101", "tv": "resnet101"},
    "resnet152_v1_5": {"timm": "resnet152", "tv": "resnet152"},
    "resnext50_32x4d": {"timm": "resnext50_32x4d", "tv": "resnext50_32x4d"},
    "wide_resnet50_2": {"timm": "wide_resnet50_2", "tv": "wide_resnet50_2"},
    "se_resnet50_v1_5": {"timm": "seresnet50.a2_in1k"},
    "vgg11": {"timm": "vgg11", "tv": "vgg11"},
    "vgg13": {"timm": "vgg13", "tv": "vgg13"},
    "vgg16": {"timm": "vgg16", "tv": "vgg16"},
    "vgg19": {"timm": "vgg19", "tv": "vgg19"},
    "vgg11_bn": {"timm": "vgg11_bn", "tv": "vgg11_bn"},
    "vgg13_bn": {"timm": "vgg13_bn", "tv": "vgg13_bn"},
    "vgg16_bn": {"timm": "vgg16_bn", "tv": "vgg16_bn"},
    "vgg19_bn": {"timm": "vgg19_bn", "tv": "vgg19_bn"},
    "densenet121": {"timm": "densenet121", "tv": "densenet121"},
    "densenet161": {"timm": "densenet161", "tv": "densenet161"},
    "densenet169": {"timm": "densenet169", "tv": "densenet169"},
    "densenet201": {"timm": "densenet201", "tv": "densenet201"},
    "inception_v3_torchvision": {"tv": "inception_v3"},
    "inception_v4_timm": {"timm": "inception_v4.tf_in1k"},
    "alexnet_torchvision": {"tv": "alexnet"},
    "googlenet_torchvision": {"tv": "googlenet"},
}
_OPTIONS = {"inception_v3": {"transform_input": True, "init_weights": False},
            "googlenet": {"transform_input": True, "init_weights": False}}


def peer(name):
    """The network, with the weights that its library draws."""
    entry = PEERS[name]
    if "timm" in entry:
        import timm
        return timm.create_model(entry["timm"])
    import torchvision
    return torchvision.models.get_model(entry["tv"], **_OPTIONS.get(entry["tv"], {}))


def preprocess(name):
    """The published preprocessing: of torchvision's weights, or of timm's."""
    entry = PEERS[name]
    if "tv" in entry:
        import torchvision
        return torchvision.models.get_model_weights(entry["tv"]).IMAGENET1K_V1.transforms()
    import timm
    config = timm.data.resolve_data_config(model=timm.create_model(entry["timm"]))
    return timm.data.create_transform(**config)


def tensors(name):
    """{name of a tensor: shape} of the state that the library saves."""
    import torch
    with torch.device("meta"):
        return {key: list(value.shape) for key, value in peer(name).state_dict().items()}


def photographs(count=4):
    """Pieces of the photographs that come with scikit-learn, as PIL images."""
    from PIL import Image
    from sklearn.datasets import load_sample_images
    generator, photos = np.random.default_rng(0), load_sample_images().images
    pieces = []
    for n in range(count):
        height, width = generator.integers(300, 420, 2)
        top, left = (generator.integers(0, limit - side)
                     for limit, side in zip(photos[0].shape, (height, width), strict=False))
        pieces.append(Image.fromarray(photos[n % 2][top:top + height, left:left + width]))
    return pieces


def cropped(image, transform):
    """The uint8 pixels that their transform normalizes."""
    import torchvision.transforms.functional as functional
    if hasattr(transform, "resize_size"):  # torchvision's
        image = functional.resize(image, transform.resize_size, transform.interpolation)
        return functional.center_crop(image, transform.crop_size)
    for step in transform.transforms:  # timm's
        if "Resize" in type(step).__name__ or "Crop" in type(step).__name__:
            image = step(image)
    return image


def squares(resize, crop):
    """Square photographs, and what torchvision makes of them: resized, the centre cut out.

    The margin before the centre is rounded down; where it is odd, torchvision's own is one more.
    """
    import torchvision.transforms.functional as functional
    before = [image.crop((0, 0, 290, 290)) for image in photographs()]
    margin = (resize - crop) // 2
    after = [functional.crop(functional.resize(image, resize), margin, margin, crop, crop)
             for image in before]
    return np.stack(before), np.stack(after)


def randomize(model, batch):
    """Draw scales and offsets; take the statistics of `batch`, as random ones would blow up."""
    import torch
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
            norm.momentum = 1.0
        if norms:
            model.train()(batch)
        for norm in norms:
            norm.running_mean.add_(0.1 * torch.randn_like(norm.running_mean)
                                   * norm.running_var.sqrt())
            norm.running_var.mul_(1 + 0.2 * torch.rand_like(norm.running_var))
            # A channel that is nearly constant would blow rounding errors up.
            norm.running_var.add_(0.1 * norm.running_var.mean())
    return model.eval()


def save(name, repository, file, resize, crop, folder):
    """Write the file as the Hub's cache keeps it, and the peer's answers; return its SHA-256."""
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(0)
    transform, images = preprocess(name), photographs()
    batch = torch.stack([transform(image) for image in images])
    model = randomize(peer(name), batch)
    with torch.no_grad():
        logits = model(batch).numpy()
    home = folder / "hub" / f"models--{repository.replace('/', '--')}"
    blobs, snapshot = home / "blobs", home / "snapshots" / ("0" * 40)
    for place in (blobs, snapshot, home / "refs"):
        place.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), blobs / "new")
    digest = hashlib.sha256((blobs / "new").read_bytes()).hexdigest()
    (blobs / "new").rename(blobs / digest)
    (snapshot / file).unlink(missing_ok=True)
    (snapshot / file).symlink_to(f"../../blobs/{digest}")
    (home / "refs/main").write_text("0" * 40)
    pixels = np.stack([np.asarray(cropped(image, transform)) for image in images])
    before, after = squares(int(resize), int(crop))
    np.savez(folder / f"{name}.npz", pixels=pixels, logits=logits, before=before, after=after)
    return digest


def main():
    if sys.argv[1] == "--tensors":
        content = json.dumps({name: tensors(name) for name in PEERS}, separators=(",", ":"))
        TENSORS.write_bytes(gzip.compress(content.encode(), mtime=0))
        return
    folder = Path(sys.argv[1])
    for row in sys.argv[2:]:
        print(row.split()[0], save(*row.split(), folder), flush=True)


if __name__ == "__main__":
    main()
