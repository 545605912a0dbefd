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


def test_list_chooses_by_year_and_by_trained_weights(capsys):
    assert main(["list", "densenet*", "--year", "2017", "--weights", "--json"]) == 0
    names = [model["name"] for model in json.loads(capsys.readouterr().out)]
    assert names == ["densenet121", "densenet161", "densenet169", "densenet201"]
    assert main(["list", "*", "--sort", "year", "--json"]) == 0
    years = [model["year"] or 0 for model in json.loads(capsys.readouterr().out)]
    assert years == sorted(years) and years[0] == 0 and years[-1] == 2019
    for args, words in ((["lenet5", "--year", "1999"], "No model 'lenet5' is of 1999; there are "
                         "some of 1998."),
                        (["alexnet", "--weights"], "No model 'alexnet' has trained weights; ")):
        assert main(["list", *args]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, params",
    [
        pytest.param(["lenet5"], 61_706, marks=pytest.mark.slow),
        (["lenet5", "--set", "classes=2"], 61_026),
        pytest.param(["lenet"], 44_426, marks=pytest.mark.slow),
        pytest.param(["lenet_cassava"], 2_365_581, marks=pytest.mark.slow),
    ],
)
def test_info_counts_the_parameters(zoo_command, args, params):
    answer = zoo_command("info", *args)
    assert f"{params:,} params" in answer.stdout and not answer.stderr
    assert "\n--set: weights=None, input_shape=(" in answer.stdout
    head = "layer type output kernel field params mult-adds"
    assert head.split() in [line.split() for line in answer.stdout.splitlines()]


WIDEST = ("xception", "mobilenet_v3_large", "shufflenet_v2_x0_5", "textcnn")  # of the quick ones


@pytest.mark.parametrize("name", [
    name if name in WIDEST else pytest.param(name, marks=pytest.mark.slow)
    for name in catalog.names()])
def test_the_layer_table_fits_a_terminal_and_leaves_nothing_out(name, capsys):
    assert main(["info", name, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert main(["info", name]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80, text
    block, shown = "", {}
    for line in text.split("\n\n")[1].splitlines()[1:]:
        layer, *cells = line.split()
        if not cells:
            block = f"{layer}_"
        else:
            shown[block + layer if line.startswith(" ") else layer] = cells
    assert list(shown) == [layer["layer"] for layer in layers]
    for layer in layers:
        *_, output, kernel, field, params, multiply_adds = shown[layer["layer"]]
        numbers = f"{layer['size']}x{layer['maps']}" if layer["maps"] else layer["size"]
        assert output == numbers
        assert kernel in ("-", f"{layer['kernel']}/{layer['stride']}")
        assert layer["receptive_field"] in (field, f"{field}x{field}")
        assert params == f"{layer['params']:,}"
        assert multiply_adds == f"{layer['multiply_adds']:,}"
        if layer["activation"] not in ("-", "(softmax)"):
            assert layer["activation"] in shown[layer["layer"]]


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
        and ["epochs", "80", "10"] in lines
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
