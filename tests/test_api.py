"""The public names of `zoo`: what they are, whatever is imported, and how fast `import zoo` is."""
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from tests.conftest import ROOT
from zoo.errors import UsageError

NAMES = {"Spec", "UsageError", "UserError", "build", "card", "features", "layer_table", "load",
         "names", "register", "spec", "stages"}


def test_public_names_stay_functions_after_every_module_is_imported():
    for module in pkgutil.walk_packages(zoo.__path__, "zoo."):
        importlib.import_module(module.name)
    assert set(zoo.__all__) == NAMES <= set(dir(zoo))
    for name in zoo.__all__:
        public = getattr(zoo, name)
        assert callable(public) and not inspect.ismodule(public), name
        assert public.__name__ == name and public.__module__.startswith("zoo."), name
        assert inspect.getdoc(public), name
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'bild'"):
        zoo.bild  # noqa: B018


def test_public_functions_are_annotated():
    assert (Path(zoo.__file__).parent / "py.typed").exists()
    for name in NAMES - {"Spec", "UsageError", "UserError"}:
        signature = inspect.signature(getattr(zoo, name))
        for parameter in signature.parameters.values():
            assert parameter.annotation is not parameter.empty, (name, parameter)
        assert signature.return_annotation is not signature.empty, name


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
    for file in Path(zoo.__file__).parent.glob("*.py"):
        if "\nPAPER = " in file.read_text():
            assert f"zoo.{file.stem}" in modules, file
