"""What the command answers to a mistake: the text, and before TensorFlow is imported."""

import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zoo
from zoo.__main__ import main
from zoo.training import recipes

COMMANDS = {
    "train lenet5": "lenet5 is a network. Name the data to train it on (--data DATASET; in Python "
                    "data=) or choose the recipe lenet5-digits.",
    "train vgg16": "vgg16 is a network. Name the data to train it on (--data DATASET; in Python "
                   "data=) or choose the recipe vgg16-imagenet2012.",
    "train lenet5-digts": "Unknown recipe 'lenet5-digts'. Did you mean 'lenet5-digits'?",
    "train densnet121 --data photos": "Unknown model 'densnet121'. Did you mean 'densenet121'?",
    "train lenet5-digits --set epochs=many": "epochs must be a whole number. Received: 'many'.",
    "train lenet5-digits --set resize=zoom": "Unknown resize 'zoom'. Known: crop, pad, stretch.",
    "tune lenet5-digits --set drpout=0.1":
        "Unknown setting of lenet5 'drpout'. Did you mean 'dropout'?",
    "version": "Unknown command 'version'. Did you mean '--version'?",
    "fit lenet5-digits": "Unknown command 'fit'. Did you mean 'train'?",
    "train lenet5-digits --set augment.flipp=1":
        "Unknown setting of lenet5 'augment.flipp'. Did you mean 'augment'?",
    "train lenet5-digits --set augment=flip":
        "augment must be a dictionary such as {'shift': 2}. Received: 'flip'.",
    "train lenet5-digits --set augment={'flp':True}":
        "Unknown augmentation 'flp'. Did you mean 'flip'?",
    "tune lenet5-digits --set augment={'zoom':3}":
        "zoom must be a number from 0 to 1. Received: 3.",
    "train lenet5-digits --set augment={'random_resized_crop':2}":
        "random_resized_crop must be the smallest share of the image's area, a number from 0 to 1, "
        "such as 0.08. Received: 2.",
    "train lenet5-digits --set augment={'randaugment':{'n':2}}":
        "randaugment must be {'n': operations, 'm': magnitude}. Received: {'n': 2}.",
    "train lenet5-digits --set augment={'flip': True}":
        "Unexpected argument 'True}'. A setting with spaces needs quotes: --set "
        "\"augment={'shift': 2}\".",
    "train lenet5-digits --set epochs = 3":
        "Unexpected argument '='. A setting has no spaces: --set epochs=3.",
    "tune lenet5-digits --set epochs= 3":
        "Unexpected argument '3'. A setting has no spaces: --set epochs=3.",
    "info lenet5 --set classes 2":
        "Unexpected argument '2'. A setting has no spaces: --set classes=2.",
    "train lenet5 --data digits more":
        "Unexpected argument 'more'. `zoo train --help` shows what is expected.",
    "train lenet5-digits --strategy mirored":
        "Unknown strategy 'mirored'. Did you mean 'mirrored'?",
    "train lenet5-digits --folds 3":
        "folds is for sentences, and lenet5 takes images. Received: 3.",
    "tune lenet5-digits --set vectors=glove.txt":
        "vectors is for sentences, and lenet5 takes images. Received: 'glove.txt'.",
    "info lenet5 --set clases=2": "Unknown setting of lenet5 'clases'. Did you mean 'classes'?",
    "info lenet5 --set classes=two": "classes must be a whole number. Received: 'two'.",
    "publish run hf://ada/digits --licence CC_BY":
        "licence must be an identifier of the Hub, such as apache-2.0. Received: 'CC_BY'.",
    "publish run hf://ada": "Expected an address on the Hugging Face Hub, hf://owner/name. "
                            "Received: hf://ada.",
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
    "export lenet": "lenet is a network without weights. Train it: zoo train lenet --data DATASET.",
    "predict lenet5 digit.png": "lenet5 is a network without weights. Trained ones are "
                                "lenet5-digits, lenet5-mnist.",
    "evaluate resnet50": "resnet50 is a network without weights. Trained ones are "
                         "resnet50_v1_5-imagenet, resnet50_keras-imagenet.",
    "explain lenet6-digits": "lenet6-digits is not a run directory. Unknown shipped model "
                             "'lenet6-digits'. Did you mean 'lenet5-digits'?",
}
_MISSING = " does not exist. `zoo export RUN` writes a SavedModel."
_NO_NETWORK = (" is a file. Expected a run directory or the name of a trained network, such as "
               "lenet5-mnist.")
_UNFINISHED = ("The training in half is not finished. Run its `zoo train` command again to resume "
               "it.")
_SEARCH = ("search is a search. `zoo tune` with --refit trains its best network, in "
           f"{Path('search/kept')}.")
_EXPORT = "export is an export. Name the run that was exported."
_NO_DATA = (" is a file. Expected a folder, a .zip or .tar, a table (CSV, TSV or Parquet), or an "
            ".npz file.")
IN_A_FOLDER = {  # see `files`
    # The data set.
    "train lenet5 --data phtos":
        "No file, folder or data set is named 'phtos'. Did you mean 'photos'?",
    "doctor photo": "No file, folder or data set is named 'photo'. Did you mean 'photos'?",
    "tune lenet5 --data photo/":
        "photo/ does not exist. Did you mean 'photos'?",
    "evaluate lenet5-digits --data Fashion-MNIST":
        "No file, folder or data set is named 'Fashion-MNIST'. Did you mean 'fashion_mnist'?",
    "train textcnn --data imdb":
        "No file, folder or data set is named 'imdb'. Did you mean 'imdb_reviews'?",
    "train textcnn --data review.csv": "review.csv does not exist. Did you mean 'reviews.csv'?",
    "train textcnn-mr": "textcnn-mr trains on mr.csv, which is not here. Name the place where it "
                        "is: --data PATH/mr.csv.",
    "train lenet5 --data https://example.org/photos.zip":
        "https://example.org/photos.zip is a web address. Download and unpack it, and name the "
        "folder.",
    "doctor digit.png": f"digit.png{_NO_DATA}",
    "doctor photos.rar": f"photos.rar{_NO_DATA} Unpack the archive and name the folder.",
    # Names as other libraries write them.
    "train resnet-18 --data photos": "Unknown model 'resnet-18'. Did you mean 'resnet18'?",
    "train ResNet18 --data photos": "Unknown model 'ResNet18'. Did you mean 'resnet18'?",
    "train vgg16-bn --data photos": "Unknown model 'vgg16-bn'. Did you mean 'vgg16_bn'?",
    "train mobilenetv2 --data photos": "Unknown model 'mobilenetv2'. Did you mean 'mobilenet_v2'?",
    "train inceptionv3 --data photos": "Unknown model 'inceptionv3'. Did you mean 'inception_v3'?",
    "train lenet-5 --data photos": "Unknown model 'lenet-5'. Did you mean 'lenet5'?",
    "info resnet-18": "Unknown model 'resnet-18'. Did you mean 'resnet18'?",
    "train LeNet5-MNIST": "Unknown recipe 'LeNet5-MNIST'. Did you mean 'lenet5-mnist'?",
    "train resnet20_cifar10": "Unknown recipe 'resnet20_cifar10'. Did you mean 'resnet20-cifar10'?",
    "train lenet5-digits --set optimizer=Adam": "Unknown optimizer 'Adam'. Did you mean 'adam'?",
    "train lenet5-digits --set schedule=cosin": "Unknown schedule 'cosin'. Did you mean 'cosine'?",
    "train lenet5-digits --precision fp16": "Unknown precision 'fp16'. Did you mean "
                                            "'mixed_float16'?",
    "train lenet5-digits --set teacher=lenet5-digitz":
        "lenet5-digitz is not a run directory. Unknown shipped model 'lenet5-digitz'. "
        "Did you mean 'lenet5-digits'?",
    "train lenet5-digits --set temperature=3":
        "temperature needs a teacher, a run or a trained network, such as "
        "teacher=resnet20-cifar10. Received: 3.0.",
    "train lenet5-digits --set temperature=0": "temperature must be at least 0.1. Received: 0.0.",
    "train resnet20 --data photos --set weights=resnet20-cifar":
        "Unknown weights 'resnet20-cifar'. Did you mean 'resnet20-cifar10'? Nor is resnet20-cifar "
        "a finished run or a .keras file.",
    "export lenet5-digits --formats tflite": "Unknown format 'tflite'. Did you mean 'litert'?",
    "export lenet5-digits --formats saved_model,ONNX": "Unknown format 'ONNX'. Did you mean "
                                                       "'onnx'?",
    # The order, and what has no option.
    "train simple_cnn photos": "Unexpected argument 'photos'. Did you mean --data photos?",
    "train photos simple_cnn": "Unexpected argument 'simple_cnn'. The network comes first: zoo "
                               "train simple_cnn --data photos.",
    "train photos --data simple_cnn": "The network comes first: zoo train simple_cnn --data "
                                      "photos.",
    "train lenet5 --data digits epochs=3": "Unexpected argument 'epochs=3'. Settings need --set: "
                                           "--set epochs=3.",
    "info lenet5 classes=2": "Unexpected argument 'classes=2'. Settings need --set: --set "
                             "classes=2.",
    "evaluate lenet5-digits photos": "Unexpected argument 'photos'. Did you mean --data photos?",
    "explain lenet5-digits digit.png": "Unexpected argument 'digit.png'. Did you mean --image "
                                       "digit.png?",
    "export lenet5-digits there": "Unexpected argument 'there'. `zoo export --help` shows what is "
                                  "expected.",
    "train lenet5-digits --lr 0.1": "There is no option --lr: it is a setting, --set "
                                    "learning_rate=VALUE.",
    "tune lenet5-digits --batch-size=4": "There is no option --batch-size: it is a setting, --set "
                                         "batch_size=VALUE.",
    "tune lenet5-digits --fix lr=0.1": "Unknown hyperparameter to fix 'lr'. Did you mean "
                                       "'learning_rate'?",
    "tune lenet5-digits --fix learning_rate=fast": "learning_rate must be a number. Received: "
                                                   "'fast'.",
    "tune lenet5-digits --fix learning_rate=-1": "learning_rate must be at least 0. Received: "
                                                 "-1.0.",
    "tune mlp --data digits --fix dept=2": "Unknown hyperparameter to fix 'dept'. Did you mean "
                                           "'depth'?",
    "predict digit.png": "Name the network before the files: zoo predict NETWORK digit.png.",
    "predict digit.png lenet5": "Name the network before the files: zoo predict NETWORK digit.png.",
    "predict digit.png done": "The network comes before the files: zoo predict done digit.png.",
    "predict lenet5-digits": "Expected files: zoo predict lenet5-digits FILES, or a sentence, "
                             "--text.",
    # Files and folders.
    "predict lenet5-digits digits.png": "Cannot read digits.png: No such file or directory. Did "
                                        "you mean 'digit.png'?",
    "predict textcnn-uit_vsfc 'a film'": "Cannot read a film: No such file or directory. A "
                                         "sentence stands after --text.",
    "explain lenet5-digits --image 7.png": "Cannot read 7.png: No such file or directory.",
    "explain --filters 7.png": "Cannot read 7.png: No such file or directory.",
    "explain lenet5-digits --to no/page.html": "Cannot write no/page.html: there is no such "
                                               "folder.",
    "explain digit.png": f"digit.png{_NO_NETWORK}",
    "evaluate reviews.csv": f"reviews.csv{_NO_NETWORK}",
    "export photos": "photos is not a run directory: it has no recipe.json. `zoo train RECIPE "
                     "--run photos` creates one.",
    "train lenet5-digits --run digit.png": "Cannot write the run directory digit.png: digit.png is "
                                           "a file.",
    "tune lenet5-digits --run digit.png/x": "Cannot write the run directory digit.png/x: digit.png "
                                            "is a file.",
    "tune lenet5-digits --space gone.py": "Cannot read gone.py: No such file or directory.",
    "train --recipe run": "Cannot read the recipe run: Is a directory. Did you mean "
                          "'run/recipe.json'?",
    "train --recipe reviews.csv": "reviews.csv is not a recipe: Expecting value: line 1 column 1 "
                                  "(char 0).",
    "train my_nets.linear --data photos": "Unknown model 'my_nets.linear'. Known: alexnet, "
        "alexnet_2tower, alexnet_torchvision, char_cnn, char_cnn_large, conv_only, conv_only_128, "
        "conv_only_128_cifar, densenet121, densenet161, densenet169, densenet201 "
        "and 87 more. A "
        "network of your own is MODULE:NAME, as in my_nets:linear.",
    # Runs, searches and exports.
    "predict half digit.png": _UNFINISHED,
    "evaluate half": _UNFINISHED,
    "evaluate ./doen": "./doen does not exist. Did you mean 'done'?",
    "export half": _UNFINISHED,
    "publish half hf://ada/digits": _UNFINISHED,
    "predict search digit.png": _SEARCH,
    "evaluate search": _SEARCH,
    "export search": _SEARCH,
    "explain search": _SEARCH,
    "evaluate export": _EXPORT,
    "export export": _EXPORT,
    "explain export": _EXPORT,
    "evaluate model.tflite": f"model.tflite{_NO_NETWORK}",
    "predict reviews.csv digit.png":
        "reviews.csv is a file. Expected a run directory, an export, or the name of a trained "
        "network, such as lenet5-mnist.",
    "train lenet5-digits --run half --epochs 3":
        "half contains a run of another recipe (epochs is 40 there, 3 here). Choose another run "
        "directory (--run; in Python run=), or delete it.",
    "tune lenet5-digits --run half --epochs 3":
        "half contains a run of another recipe (epochs is 40 there, 3 here). Choose another run "
        "directory (--run; in Python run=), or delete it.",
    "train lenet5-digits --run photos":
        "photos is not a run directory: it contains 'a' and no recipe.json. Choose a new run "
        "directory (--run; in Python run=).",
    "export lenet5-digits --to photos": "photos exists. Choose another directory.",
    "export lenet5-digits --to digit.png": "digit.png exists. Choose another directory.",
    "serve export --port 8500 --grpc-port 8500":
        "--port and --grpc-port must differ. Received: 8500 for both.",
    # Settings of the other kind of data.
    "train textcnn --data reviews.csv --set vectors=glove.txt":
        "Cannot read glove.txt: No such file or directory.",
    "train textcnn --data reviews.csv --set normalize=true":
        "normalize is for images, and textcnn takes sentences. Received: True.",
    "train textcnn --data reviews.csv --set augment='{\"flip\": true}'":
        "augment is for images, and textcnn takes sentences. Received: {'flip': True}.",
    "serve lenet5": f"lenet5{_MISSING}",
    "serve runs/nothing": f"runs/nothing{_MISSING}",
    "serve done": "done is a trained network, not an export. Export it first: zoo export done --to "
                  "saved_models/done, then zoo serve saved_models/done.",
}
NAMES = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "opt": "optimizer",
         "num_epochs": "epochs", "image_size": "input_shape", "num_classes": "classes",
         "fp16": "precision", "augmentation": "augment", "pretrained": "weights",
         "val_split": "validation_split", "max_len": "max_tokens", "learnig_rate": "learning_rate"}


@pytest.fixture
def without_tensorflow(monkeypatch, tmp_path):
    """Forbid the import of TensorFlow and Keras in an empty folder.

    TFDS, where another test imported it, would list its data sets now, once for the process, and
    leave out those that need TensorFlow.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow_datasets", raising=False)
    for name in ("tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def files(tmp_path):
    """Photographs, a table, an archive, an unfinished run, a finished one, a search, an export."""
    recipe = recipes.get_recipe("lenet5-digits").to_json()
    text = "text,label\n"
    for file, content in {
            "photos/a/.keep": "", "digit.png": text, "photos.rar": text, "reviews.csv": text,
            "model.tflite": text, "run/recipe.json": text, "half/recipe.json": recipe,
            "done/recipe.json": recipe, "done/metrics.json": "{}", "search/recipe.json": recipe,
            "search/search.json": "{}", "export/saved_model.pb": ""}.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content, encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_answered_before_tensorflow_is_imported(command, capsys, without_tensorflow):
    assert main(command.split()) in (1, 2)
    assert capsys.readouterr().err == f"zoo: {COMMANDS[command]}\n"


@pytest.mark.parametrize("command", IN_A_FOLDER)
def test_a_mistake_about_ones_own_files_too(command, capsys, without_tensorflow, files, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert main(shlex.split(command)) in (1, 2)
    assert capsys.readouterr().err == f"zoo: {IN_A_FOLDER[command]}\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", NAMES)
def test_names_of_other_libraries_lead_to_ours(name, capsys, without_tensorflow):
    assert main(["train", "lenet5-digits", "--set", f"{name}=1"]) == 2
    assert capsys.readouterr().err == (
        f"zoo: Unknown setting of lenet5 {name!r}. Did you mean {NAMES[name]!r}?\n")


def test_zoo_alone_shows_the_help(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: zoo [OPTIONS] COMMAND [ARGS]...\n")


def test_version_is_an_option(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zoo, version {zoo.__version__}\n"


def test_counts_have_units(capsys):
    assert main(["list", "--max-params", "10_000"]) == 0
    plain = capsys.readouterr().out
    for count in ("10k", "0.01M", "10,000", "10000"):
        assert main(["list", "--max-params", count]) == 0
        assert capsys.readouterr().out == plain


@pytest.mark.slow
def test_a_mistyped_setting_is_reported_as_fast_as_a_network_is_listed(tmp_path):
    seconds = {"list lenet5": [], "train lenet5-digits --set lr=1": [], "train lenet5-mnsit": [],
               "train lenet5 --data phtos": [], "doctor phtos": []}
    for _ in range(10):
        for command, times in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "zoo", *command.split()], cwd=tmp_path,
                           capture_output=True)
            times.append(time.perf_counter() - start)
    listed, *mistyped = map(statistics.median, seconds.values())
    assert max(mistyped) < max(1, 3 * listed), seconds
