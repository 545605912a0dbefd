"""What an importer types: `zoo`, `zoo.training` and `zoo.tuning`, lazily, typed and documented."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo
import zoo.training
import zoo.tuning
from tests.conftest import ROOT
from zoo.errors import UsageError

PACKAGES = {
    "zoo": [
        "Spec",
        "UsageError",
        "UserError",
        "build",
        "card",
        "draw",
        "features",
        "layer_table",
        "load",
        "names",
        "register",
        "spec",
        "stages",
    ],
    "zoo.training": [
        "Recipe",
        "evaluate",
        "examine",
        "explain",
        "export",
        "get_recipe",
        "list_recipes",
        "load_data",
        "predict",
        "train",
    ],
    "zoo.tuning": ["hypermodel", "refit", "search"],
}
FUNCTIONS = [(package, name) for package, names in PACKAGES.items() for name in names]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_are_all_and_in_dir(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == PACKAGES[package]
    assert set(module.__all__) <= set(dir(module))


def test_public_names_stay_functions_whatever_is_imported():
    """A module of a function's name would take its place once it is imported."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for package, name in FUNCTIONS:
        value = getattr(importlib.import_module(package), name)
        assert callable(value) and not inspect.ismodule(value), f"{package}.{name}"


@pytest.mark.parametrize(("package", "name"), FUNCTIONS)
def test_public_functions_are_typed_and_documented(package, name):
    value = getattr(importlib.import_module(package), name)
    doc = inspect.getdoc(value)
    assert doc and doc[0].isupper()
    if inspect.isclass(value):
        return
    signature = inspect.signature(value)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
        assert parameter.name in doc or parameter.name in ("args", "kwargs"), parameter.name


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'biuld'"):
        importlib.import_module(package).biuld  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_neither_tensorflow_nor_keras(package):
    program = (
        f"import sys, {package}; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_package_is_marked_as_typed():
    assert (ROOT / "zoo/py.typed").exists()


def test_import_zoo_imports_neither_keras_nor_numpy_and_names_no_training():
    program = ("import sys, zoo; first = set(sys.modules); zoo.names(); "
               "print(first & {'keras', 'numpy', 'tensorflow', 'click', 'training', 'tuning'}, "
               "set(sys.modules) & {'training', 'tuning', 'keras_tuner'})")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split("\n")[0] == "set() set()", done.stderr


def test_a_card_needs_no_keras():
    program = "import sys, zoo; zoo.card('lenet5-digits'); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_the_name_of_a_model_is_that_of_the_network_or_name():
    assert zoo.build("lenet5").name == "lenet5"
    assert zoo.build("lenet5", name="digits").name == "digits"
    assert zoo.build("lenet5", weights="lenet5-digits", name="digits").name == "digits"
    for name in ("", "a/b", 3, None):
        with pytest.raises(UsageError, match="name must be a string without '/', not empty. Rece"):
            zoo.build("lenet5", name=name)


def test_a_builder_with_a_name_argument_of_its_own_receives_it():
    received = []

    @zoo.register("named")
    def named(input_shape=(8, 8, 1), classes=10, *, name="mine"):
        """Has an argument name."""
        received.append(name)
        return zoo.spec("mlp").builder(input_shape, classes)
    try:
        assert [zoo.build("named").name, zoo.build("named", name="x").name] == ["named", "x"]
    finally:
        zoo.registry._specs.pop("named")
    assert received == ["mine", "x"]


def test_two_builds_of_one_network_stand_in_one_model_under_different_names():
    image = keras.Input((32, 32, 1))
    twins = [zoo.build("lenet5", name=name) for name in ("left", "right")]
    model = keras.Model(image, keras.layers.Average()([twin(image) for twin in twins]))
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype("float32")
    expected = sum(keras.ops.convert_to_numpy(twin(x)) for twin in twins) / 2
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), expected, atol=1e-5)
    assert model.get_layer("right") is twins[1]
    with pytest.raises(ValueError, match="unique"):
        keras.Model(image, [zoo.build("lenet5")(image), zoo.build("lenet5")(image)])


def test_stages_of_a_network_inside_a_model():
    network = zoo.build("lenet5")
    image = keras.Input((32, 32, 1))
    model = keras.Model(image, keras.layers.Dense(2)(network(image)))
    with pytest.raises(UsageError, match=r"'s2' is a stage of the network 'lenet5' inside the "
                                         r"model: pass model\.get_layer\('lenet5'\)\."):
        zoo.features(model, ["s2"])
    inner = model.get_layer("lenet5")
    assert zoo.stages(inner) == zoo.stages(network)
    assert zoo.features(inner, ["s2"]).output["s2"].shape == (None, 14, 14, 6)
    with pytest.raises(UsageError, match="Unknown stage 'nowhere'. Known: "):
        zoo.features(model, ["nowhere"])


def test_every_module_with_a_paper_is_discovered():
    modules = {zoo.spec(name).builder.__module__ for name in zoo.names()}
    for file in (ROOT / "zoo").glob("*.py"):
        if "\nPAPER = " in file.read_text():
            assert f"zoo.{file.stem}" in modules, file
