"""The rules of the source tree: who may import whom, and what the wheel holds."""

import ast
import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

HOMES = {
    "zoo": ROOT / "zoo",
    "zoo.training": ROOT / "training",
    "zoo.tuning": ROOT / "tuning",
    "zoo.saved_models": ROOT / "saved_models",
}
VERBS = {
    "build",
    "layer_table",
    "draw",
    "train",
    "evaluate",
    "predict",
    "export",
    "explain",
    "serve",
    "search",
    "hypermodel",
    "refit",
    "load_data",
    "examine",
}


def modules():
    """Return {module name: file} of the whole package."""
    return {
        ".".join([name, *file.relative_to(home).with_suffix("").parts]).removesuffix(
            ".__init__"
        ): file
        for name, home in HOMES.items()
        for file in home.rglob("*.py")
        if name != "zoo.saved_models" or file.parent == home
    }


MODULES = modules()


def imported(file, everywhere=True):
    """Return the names of the modules that `file` imports; those for type checkers do not count."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in MODULES else node.module)
    return names


GRAPH = {
    name: imported(file) & MODULES.keys()
    for name, file in MODULES.items()
    if file.name != "__init__.py"
}  # a package's __init__ is its door: what it offers lies below it


def is_below(module, *packages):
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def test_no_module_imports_itself_through_others():
    finished, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            path.append(module)
            for target in sorted(GRAPH.get(module, ())):
                visit(target)
            path.pop()
            finished.add(module)

    for module in GRAPH:
        visit(module)


def test_nothing_imports_our_folders_under_their_bare_names():
    """In a checkout that would load a module twice."""
    for file in [*MODULES.values(), *ROOT.glob("tests/*.py"), *ROOT.glob("benchmarks/*.py")]:
        bare = [
            name
            for name in imported(file)
            if name.partition(".")[0] in ("training", "tuning", "saved_models")
        ]
        assert not bare, (file, bare)


RULES = [  # the modules below the first may not import any below the others
    ("zoo.training.preprocessing", ["zoo.training", "zoo.tuning"], ["zoo.training.preprocessing"]),
    (
        "zoo.training.data",
        [
            f"zoo.training.{room}"
            for room in ("engine", "deployment", "serving", "explanation", "results", "doctor")
        ],
        [],
    ),
    ("zoo.training.serving", ["zoo.training.engine"], []),
    ("zoo.training", ["zoo.tuning", "zoo.cli"], []),
    ("zoo.tuning", ["zoo.cli"], []),
]


@pytest.mark.parametrize(("package", "forbidden", "allowed"), RULES)
def test_rooms_import_downwards_only(package, forbidden, allowed):
    for module in (name for name in MODULES if is_below(name, package)):
        wrong = [
            name
            for name in imported(MODULES[module])
            if is_below(name, *forbidden) and not is_below(name, *allowed)
        ]
        assert not wrong, (module, wrong)


def test_of_the_networks_package_only_the_command_imports_training_and_tuning():
    for module, file in MODULES.items():
        if is_below(module, "zoo") and not is_below(
            module, "zoo.cli", "zoo.training", "zoo.tuning", "zoo.saved_models"
        ):
            assert not [
                name for name in imported(file) if is_below(name, "zoo.training", "zoo.tuning")
            ], module


def test_what_opens_exports_needs_no_tensorflow_and_nothing_of_ours():
    needed = imported(ROOT / "training/deployment/runtimes.py", everywhere=False)
    assert not [name for name in needed if name.partition(".")[0] in ("tensorflow", "keras", "zoo")]


def test_no_module_bears_the_name_of_a_public_function():
    """Once it is imported, Python would put it in the function's place."""
    assert not [
        name
        for name in MODULES
        if name.rpartition(".")[2] in VERBS and not is_below(name, "zoo.cli")
    ]


def test_the_training_folder_can_be_taken_in_at_a_glance():
    entries = [path for path in (ROOT / "training").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 18


def test_setup_cfg_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    assert listed == {name for name, file in MODULES.items() if file.name == "__init__.py"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The path of a wheel of this checkout."""
    source = tmp_path_factory.mktemp("wheel") / "source"  # setuptools leaves a folder build behind
    for name in ("zoo", "training", "tuning", "saved_models/shipped"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("saved_models/__init__.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source, source],
        check=True,
        capture_output=True,
    )
    return next(source.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def crowded(tmp_path):
    """A folder in which the user has files and folders of our names; importing one fails."""
    for name in ("training.py", "tuning/__init__.py", "saved_models/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise ImportError('the file of the user was imported')")
    return tmp_path


def zoo(installed, folder, *args):
    done = subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_one_top_level_package(wheel):
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"zoo"}


def test_the_wheel_holds_what_the_checkout_does(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("zoo/")}
    ours = {
        str(Path("zoo", *file.relative_to(home).parts))
        if name == "zoo"
        else str(Path("zoo", home.name, file.relative_to(home)))
        for name, home in HOMES.items()
        for file in home.rglob("*")
        if file.is_file()
        and file.suffix
        in (".py", ".mjs", ".js", ".css", ".json", ".html", ".npz", ".txt", ".typed", ".LICENSE")
        and (name != "zoo.saved_models" or "shipped" in file.parts or file.parent == home)
    }
    assert held == ours


def test_the_wheel_works_beside_files_of_the_same_names(installed, crowded):
    where = zoo(
        installed, crowded, "-c", "import zoo.training, zoo.tuning; print(zoo.training.__file__)"
    )
    assert where.startswith(str(installed))
    zoo(installed, crowded, "-m", "zoo", "train", "lenet5-digits", "--epochs", "1", "--run", "run")
    assert (crowded / "run/metrics.json").exists()


@pytest.mark.slow
def test_the_wheel_exports_and_tunes_beside_files_of_the_same_names(installed, crowded):
    zoo(installed, crowded, "-m", "zoo", "train", "lenet5-digits", "--epochs", "1", "--run", "run")
    zoo(installed, crowded, "-m", "zoo", "export", "run", "--to", "export")
    zoo(
        installed,
        crowded,
        "-m",
        "zoo",
        "tune",
        "lenet5-digits",
        "--trials",
        "1",
        "--epochs",
        "1",
        "--run",
        "search",
    )
    assert (crowded / "export/saved_model.pb").exists() and (crowded / "search/best.json").exists()


def pins(name):
    """Return {package: version} of a constraints file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_lowest_versions_that_are_declared_are_those_of_make_lowest():
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg", encoding="utf-8")
    lowest, tested = pins("constraints-lowest.txt"), pins("constraints.txt")
    for line in options["options"]["install_requires"].split("\n")[1:]:
        requirement = Requirement(line)
        if not requirement.marker:
            floor, = (each.version for each in requirement.specifier if each.operator == ">=")
            name = canonicalize_name(requirement.name)
            assert Version(lowest[name]) == Version(floor), name
            assert tested[name] in requirement.specifier, name
