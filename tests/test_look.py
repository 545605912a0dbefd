"""What there is: `zoo list`, `zoo info`, `zoo recipes`."""
import json

import pytest

import zoo
from zoo import catalog
from zoo.__main__ import main
from zoo.training import recipes


def test_list_imports_neither_keras_nor_tensorflow(zoo_command):
    answer = zoo_command("list", PYTHONPROFILEIMPORTTIME="1")
    assert "zoo.catalog" in answer.stderr
    assert "keras" not in answer.stderr and "tensorflow" not in answer.stderr


def test_list_shows_every_network_with_its_parameters(zoo_command):
    lines = {line.split()[0]: line for line in zoo_command("list").stdout.splitlines()[1:-1]}
    assert list(lines) == [
        name for name in zoo.names() if zoo.spec(name).builder.__module__.startswith("zoo.")
    ]
    assert (
        "61,706" in lines["lenet5"]
        and "32x32x1" in lines["lenet5"]
        and "LeCun et al. 1998" in lines["lenet5"]
    )
    models = json.loads(zoo_command("list", "lenet5*", "--json").stdout)
    assert [model["name"] for model in models] == ["lenet5", "lenet5_relu"]


def test_list_sorts_and_leaves_out_the_large(zoo_command):
    options = ("--max-params", "1000000", "--sort", "flops", "--json")
    models = json.loads(zoo_command("list", "resnet*", *options).stdout)
    assert [model["name"] for model in models] == ["resnet20", "resnet32", "resnet44", "resnet56"]


@pytest.mark.parametrize(
    "args, params",
    [
        (["lenet5"], 61_706),
        (["lenet5", "--set", "classes=2"], 61_026),
        (["lenet"], 44_426),
        (["lenet_cassava"], 2_365_581),
    ],
)
def test_info_counts_the_parameters(zoo_command, args, params):
    answer = zoo_command("info", *args)
    assert f"{params:,} params" in answer.stdout and not answer.stderr
    assert "\n--set: weights=None, input_shape=(" in answer.stdout
    head = "layer type maps size kernel stride activation params multiply-adds"
    assert answer.stdout.splitlines()[3].split() == head.split()


def test_costs_are_per_token_and_of_images_of_one_size():
    assert catalog.cost(catalog.describe("textcnn", {"embedding": 100})) == "120,600 a token"
    assert catalog.cost(catalog.describe("resnet20")) == "40,551,040"
    assert catalog.cost(catalog.describe("resnet20", {"input_shape": (None, None, 3)})) == "-"


def test_recipes_lists_the_settings_of_one_and_the_names_of_many(capsys):
    assert main(["recipes", "resnet20-cifar10"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert (
        ["optimizer", "muon", "adam"] in lines
        and ["momentum", "0.9"] in lines
        and ["epochs", "40", "10"] in lines
    )
    assert main(["recipes", "LeNet*", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["recipe"] for row in rows} == {
        name for name in recipes.RECIPES if name.startswith("lenet")
    }
    assert (
        recipes.Recipe(**rows[0]["settings"]).to_json()
        == recipes.RECIPES[rows[0]["recipe"]].to_json()
    )


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v1", "textcnn_static"])
def test_the_arguments_to_set_are_listed(name):
    described = catalog.describe(name, {"classes": 7})
    ours = zoo.build(name, **described["arguments"])
    assert ours.output.shape == (None, 7) and ours.count_params() == described["params"]
