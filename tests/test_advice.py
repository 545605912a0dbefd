"""What the command answers to a mistake: the text, and before TensorFlow is imported."""

import statistics
import subprocess
import sys
import time

import pytest

from zoo.__main__ import main

COMMANDS = {
    "train lenet5": "lenet5 is a network. Name the data to train it on (--data DATASET; in Python "
                    "data=) or choose the recipe lenet5-digits.",
    "train vgg16": "vgg16 is a network. Name the data to train it on (--data DATASET; in Python "
                   "data=).",
    "train lenet5-digts": "Unknown recipe 'lenet5-digts'. Did you mean 'lenet5-digits'?",
    "train densnet121 --data photos": "Unknown model 'densnet121'. Did you mean 'densenet121'?",
    "train lenet5-digits --set epochs=many": "epochs must be a whole number. Received: 'many'.",
    "train lenet5-digits --set resize=zoom": "Unknown resize 'zoom'. Known: crop, pad, stretch.",
    "tune lenet5-digits --set drpout=0.1":
        "Unknown setting of lenet5 'drpout'. Did you mean 'dropout'?",
    "version": "Unknown command 'version'. Did you mean '--version'?",
    "fit lenet5-digits": "Unknown command 'fit'. Did you mean 'train'?",
    "list --max-params 10x": "Invalid value for '--max-params': expected a number such as 10000, "
                             "10k or 1.5M, received '10x'.",
    "list --max-params 0": "Invalid value for '--max-params': expected a number such as 10000, 10k "
                           "or 1.5M, received '0'.",
    "serve lenet5-digits":
        "lenet5-digits is a trained network, not an export. Export it first: zoo export "
        "lenet5-digits --to saved_models/lenet5-digits, then zoo serve saved_models/lenet5-digits.",
    "predict digit.png lenet5-digits":
        "The network comes before the files: zoo predict lenet5-digits digit.png.",
    "predict lenet6-digits digit.png":
        "lenet6-digits is not a run directory. Unknown shipped model 'lenet6-digits'. Did you mean "
        "'lenet5-digits'?",
    "evaluate runs/digits":
        "runs/digits does not exist. `zoo train RECIPE --run runs/digits` trains a network there.",
    "export lenet": "lenet is not a run directory. Unknown shipped model 'lenet'. Did you mean "
                    "'lenet5-mnist'?",
    "explain lenet6-digits": "lenet6-digits is not a run directory. Unknown shipped model "
                             "'lenet6-digits'. Did you mean 'lenet5-digits'?",
}
NAMES = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "opt": "optimizer",
         "num_epochs": "epochs", "image_size": "input_shape", "num_classes": "classes",
         "fp16": "precision", "augmentation": "augment", "pretrained": "weights",
         "val_split": "validation_split", "max_len": "max_tokens", "learnig_rate": "learning_rate"}


@pytest.fixture
def without_tensorflow(monkeypatch, tmp_path):
    """Forbid the import of TensorFlow and Keras in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_answered_before_tensorflow_is_imported(command, capsys, without_tensorflow):
    assert main(command.split()) in (1, 2)
    assert capsys.readouterr().err == f"zoo: {COMMANDS[command]}\n"


@pytest.mark.parametrize("name", NAMES)
def test_names_of_other_libraries_lead_to_ours(name, capsys, without_tensorflow):
    assert main(["train", "lenet5-digits", "--set", f"{name}=1"]) == 2
    assert capsys.readouterr().err == (
        f"zoo: Unknown setting of lenet5 {name!r}. Did you mean {NAMES[name]!r}?\n")


def test_zoo_alone_shows_the_help(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: zoo [OPTIONS] COMMAND [ARGS]...\n")


def test_counts_have_units(capsys):
    assert main(["list", "--max-params", "10_000"]) == 0
    plain = capsys.readouterr().out
    for count in ("10k", "0.01M", "10,000", "10000"):
        assert main(["list", "--max-params", count]) == 0
        assert capsys.readouterr().out == plain


@pytest.mark.slow
def test_a_mistyped_setting_is_reported_as_fast_as_a_network_is_listed(tmp_path):
    seconds = {"list lenet5": [], "train lenet5-digits --set lr=1": []}
    for _ in range(10):
        for command, times in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "zoo", *command.split()], cwd=tmp_path,
                           capture_output=True)
            times.append(time.perf_counter() - start)
    listed, mistyped = map(statistics.median, seconds.values())
    assert mistyped < max(1, 3 * listed), seconds
