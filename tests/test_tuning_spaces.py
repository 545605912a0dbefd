"""Search spaces: of the zoo's own, and of the user's."""

import dataclasses

import keras
import keras_tuner as kt
import numpy as np
import psutil
import pytest

import zoo
from tests.test_tuning_oracles import answers
from zoo.cli.tune import SEARCHED
from zoo.errors import UsageError
from zoo.training import recipes
from zoo.tuning import spaces
from zoo.tuning.job import size
from zoo.tuning.network_spaces import architecture
from zoo.tuning.oracles import make_oracle
from zoo.tuning.plan import Plan
from zoo.tuning.trial import identity, recipe_for

# keras-tuner 1.4.8 calls threading.currentThread().getName() at every step of an oracle; a caller
# cannot prevent it.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning"
)

DIGITS = recipes.override(recipes.get_recipe("lenet5-digits"), ["epochs=2"])
FIXED = {
    "optimizer": "adam",
    "weight_decay": "0",
    "schedule": "cosine",
    "label_smoothing": 0,
    "augment_strength": 1.0,
    "activation": "tanh",
    "dropout": 0,
}  # all but the learning rate and the batch size


@pytest.mark.parametrize("name", zoo.names())
def test_the_defaults_of_every_space_are_the_recipe(name):
    recipe = recipes.Recipe("r", name, "digits", augment={"shift": 2, "flip": True})
    hp = kt.HyperParameters()
    chosen = spaces.apply(recipe, spaces.default(hp, recipe))
    defaults = {**zoo.spec(name).defaults, **chosen.model_args}
    assert defaults == dict(zoo.spec(name).defaults)
    assert dataclasses.replace(chosen, model_args={}) == recipe
    assert len(hp.space) >= 8, "a builder without a space of its own"
    assert {each.name for each in hp.space} <= {*zoo.spec(name).parameters, *SEARCHED}


def test_a_perceptron_without_hidden_layers_is_where_its_search_begins():
    recipe = recipes.Recipe("r", "mlp", "digits", {"hidden": ()})
    assert (
        spaces.apply(recipe, spaces.default(kt.HyperParameters(), recipe)).model_args["hidden"]
        == ()
    )


def test_a_builder_of_ones_own_has_no_space_of_the_zoos():
    def resnet(input_shape=(8, 8, 1), classes=10):
        """Has the name of one of the zoo's builders."""

    try:
        zoo.register("my_resnet")(resnet)
        assert (
            spaces.network(kt.HyperParameters(), recipes.Recipe("r", "my_resnet", "digits")) == {}
        )
        architecture("resnet")(lambda hp, args: {"classes": 7})
        assert spaces.network(kt.HyperParameters(), recipes.Recipe("r", "my_resnet", "digits")) == {
            "classes": 7
        }
        assert "width" in spaces.network(
            kt.HyperParameters(), recipes.Recipe("r", "resnet18", "digits")
        )
    finally:
        zoo.registry._specs.pop("my_resnet")


@pytest.mark.parametrize(
    "name",
    [
        "lenet5",
        pytest.param("lenet", marks=pytest.mark.slow),
        pytest.param("mlp", marks=pytest.mark.slow),
        pytest.param("conv_only", marks=pytest.mark.slow),
        pytest.param("simple_cnn", marks=pytest.mark.slow),
        pytest.param("fashion_cnn", marks=pytest.mark.slow),
        pytest.param("textcnn", marks=pytest.mark.slow),
        pytest.param("text_mlp", marks=pytest.mark.slow),
        pytest.param("resnet20", marks=pytest.mark.slow),
        pytest.param("small_inception", marks=pytest.mark.slow),
    ],
)
def test_what_is_drawn_from_a_space_builds(name):
    recipe = recipes.Recipe("r", name, "digits")
    declared = spaces.declare(spaces.default, recipe)
    asked = make_oracle(
        "random",
        declared,
        lambda values: True,
        str,
        lambda number: None,
        trials=3,
        seed=3,
        epochs=2,
    )
    sizes = set()
    for _ in range(3):
        declared.values = asked._random_values()
        drawn = spaces.apply(recipe, spaces.default(declared, recipe))
        sizes.add(size(drawn.model, drawn.model_args)["params"])
    assert name in ("lenet5", "lenet", "small_inception") or len(sizes) > 1


def test_the_size_is_counted_without_making_the_weights():
    before = psutil.Process().memory_info().rss
    assert size("vgg19", {})["params"] == zoo.spec("vgg19").params
    assert (
        psutil.Process().memory_info().rss - before < 300 * 2**20
    )  # its weights would take 575 MB
    assert keras.Variable(np.ones(2)).numpy().sum() == 2, "the uncounted weights were made later"


def test_hyperparameters_are_pinned_and_wrong_ones_named():
    declared = spaces.declare(spaces.default, DIGITS, FIXED)
    free = {hp.name for hp in declared.space if not isinstance(hp, kt.engine.hyperparameters.Fixed)}
    assert free == {"learning_rate", "batch_size"}
    assert declared.get("dropout") == 0.0 and type(declared.get("dropout")) is float
    with pytest.raises(
        UsageError, match="Unknown hyperparameter to fix 'bacth'. Did you mean 'batch_size'"
    ):
        spaces.declare(spaces.default, DIGITS, {"bacth": 3})
    with pytest.raises(UsageError, match="batch_size must be a whole number"):
        spaces.declare(spaces.default, DIGITS, {"batch_size": "many"})
    with pytest.raises(UsageError, match="batch_size must be at least 1"):
        spaces.declare(spaces.default, DIGITS, {"batch_size": 0})
    with pytest.raises(UsageError, match="Cannot fix momentum"):
        spaces.declare(momentum_of_sgd, DIGITS, {"momentum": 0.5})


def momentum_of_sgd(hp, recipe):
    optimizer = hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        return {"optimizer": optimizer, "momentum": hp.Float("momentum", 0.0, 0.99) or 0.9}


def units_of_each_layer(hp, recipe):
    return {"hidden": tuple(hp.Choice(f"units{i}", [8, 16]) for i in range(hp.Int("layers", 1, 3)))}


def test_what_is_asked_for_at_some_values_only_is_searched_too():
    recipe = recipes.Recipe("r", "mlp", "digits")
    declared = spaces.declare(units_of_each_layer, recipe)
    assert {hp.name for hp in declared.space} == {"layers", "units0", "units1", "units2"}
    plan = Plan(recipe, space=units_of_each_layer)
    drawn = [
        recipe_for(plan, declared, values).model_args["hidden"]
        for values in answers(
            make_oracle(
                "grid",
                declared,
                lambda values: True,
                identity(plan, declared),
                lambda number: None,
                trials=None,
                seed=0,
                epochs=2,
            ),
            score=lambda values: 0.5,
        )
    ]
    assert len(drawn) == len(set(drawn)) == 2 + 4 + 8

    def seldom(hp, recipe):
        return {
            "hidden": (8,),
            "dropout": hp.Float("rate", 0, 0.5) if hp.Int("number", 0, 10**9) == 10**9 - 1 else 0.0,
        }

    declared = spaces.declare(seldom, recipe)
    with pytest.raises(
        UsageError, match="The space asks for rate only at these values, too seldom"
    ):
        recipe_for(Plan(recipe, space=seldom), declared, {"number": 10**9 - 1})


@pytest.mark.parametrize(
    "name, fields, left",
    [
        ("resnet50", {"model_args": {"weights": "imagenet"}}, {"dropout"}),
        ("resnet50", {}, {"dropout", "width"}),
        (
            "textcnn",
            {"vectors": "vectors.txt"},
            {"dropout", "embedding_dropout", "filters", "first_window", "windows_count"},
        ),
    ],
)
def test_the_sizes_of_weights_that_come_ready_made_are_not_searched(name, fields, left):
    hp = kt.HyperParameters()
    spaces.network(hp, recipes.Recipe("r", name, "digits", **fields))
    assert {each.name for each in hp.space} == left


@pytest.mark.parametrize(
    "text, words",
    [
        (
            "def space(hp):\n"
            "    return {'batch_size': hp.Choice('batch_size', [8, 16]), 'padding': 'same'}",
            None,
        ),
        (
            "from zoo.tuning.spaces import default\n"
            "def space(hp, recipe):\n"
            "    hp.Choice('batch_size', [8])\n"
            "    return default(hp, recipe)",
            None,
        ),
        ("def spcae(hp): return {}", "defines no function space"),
        (
            "def space(hp): return {'epochs': hp.Int('epochs', 1, 9)}",
            "epochs are not searched: the recipe's are the length",
        ),
        (
            "def space(hp): return {'bacth': 3}",
            "Unknown field or argument of lenet5 in the space: 'bacth'. Did you mean 'batch_size'",
        ),
        ("def space(hp): return 3", "must return a dict"),
        ("def space(hp): return {}", "asks for no hyperparameter"),
        ("import nosuchmodule", "cannot be run: ModuleNotFoundError"),
    ],
)
def test_a_space_of_the_users_own(tmp_path, text, words):
    (tmp_path / "space.py").write_text(text)
    if words is None:
        declared = spaces.declare(spaces.as_function(tmp_path / "space.py"), DIGITS)
        assert declared.get("batch_size") == 8
        return
    with pytest.raises(UsageError, match=words):
        spaces.declare(spaces.as_function(tmp_path / "space.py"), DIGITS)


def test_a_missing_space_is_named(tmp_path):
    with pytest.raises(UsageError, match="Cannot read the space .*gone.py: No such file"):
        spaces.as_function(tmp_path / "gone.py")


@pytest.mark.parametrize(
    "program, words",
    [
        ("def space(hp:", "cannot be run: SyntaxError"),
        ("x = 1", "defines no function space"),
        ("def space(hp): raise RuntimeError('out')", "failed: RuntimeError: out"),
        ("def space(hp, recipe): return hp.Float('rate')", "failed: TypeError: .*missing"),
    ],
)
def test_a_space_that_fails_is_named(tmp_path, program, words):
    (tmp_path / "space.py").write_text(program)
    with pytest.raises(UsageError, match=f"space.py {words}"):
        spaces.declare(spaces.as_function(tmp_path / "space.py"), DIGITS)
