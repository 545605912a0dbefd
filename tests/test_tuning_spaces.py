"""Search spaces, and what is proposed out of them."""
import dataclasses

import keras
import keras_tuner as kt
import numpy as np
import psutil
import pytest

import zoo
from training import recipes
from tuning import spaces
from tuning.attempt import candidate, size
from tuning.oracles import OBJECTIVE, oracle
from tuning.search import Plan
from zoo.errors import UsageError

# keras-tuner 1.4.8 calls threading.currentThread().getName() at every step of an oracle; nothing a caller can do.
pytestmark = pytest.mark.filterwarnings(r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning")

DIGITS = recipes.override(recipes.recipe("lenet5-digits"), ["epochs=2"])
FIXED = ("optimizer=adam", "weight_decay=0", "schedule=cosine", "label_smoothing=0", "augment_strength=1", "activation=tanh",
         "dropout=0")  # the rate and the batch are left


def space(hp, recipe):
    return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"), "batch": hp.Choice("batch", [32, 64, 128])}


def two():
    hp = kt.HyperParameters()
    space(hp, None)
    return hp


def smooth(values):
    return 1 - abs(np.log10(values["learning_rate"]) + 2) - values["batch"] / 1e4


def answers(asked, count=100, score=smooth):
    """What an oracle proposes when `score` is a trial's score, by default a smooth function of what was proposed."""
    found = []
    while len(found) < count and (trial := asked.create_trial("search")).status == "RUNNING":
        values = trial.hyperparameters.values
        found.append(dict(values))
        asked.update_trial(trial.trial_id, {OBJECTIVE: score(values)})
        trial.status = "COMPLETED"
        asked.end_trial(trial)
    return found


def ask(algorithm, seed=0, trials=8, feasible=lambda values: True, recorded=lambda number: None, space=None):
    return oracle(algorithm, space or two(), feasible, recorded, trials=trials, seed=seed, epochs=6)


@pytest.mark.parametrize("name", zoo.names())
def test_the_defaults_of_every_space_are_the_recipe(name):
    recipe = recipes.Recipe("r", name, "digits", augment={"shift": 2, "flip": True})
    hp = kt.HyperParameters()
    chosen = spaces.apply(recipe, spaces.default(hp, recipe))
    defaults = {**zoo.spec(name).defaults, **chosen.model_args}
    assert defaults == dict(zoo.spec(name).defaults)
    assert dataclasses.replace(chosen, model_args={}) == recipe
    assert len(hp.space) >= 8, "a builder without a space of its own"


@pytest.mark.parametrize("name", ["lenet5", "lenet", "mlp", "conv_only", "simple_cnn", "fashion_cnn", "textcnn", "text_mlp",
                                  "resnet20", "small_inception"])
def test_what_is_drawn_from_a_space_builds(name):
    recipe = recipes.Recipe("r", name, "digits")
    declared = spaces.declared(spaces.default, recipe)
    asked = oracle("random", declared, lambda values: True, lambda number: None, trials=3, seed=3, epochs=2)
    sizes = set()
    for _ in range(3):
        declared.values = asked._random_values()
        sizes.add(size(spaces.apply(recipe, spaces.default(declared, recipe)), {}))
    assert name in ("lenet5", "lenet", "small_inception") or len(sizes) > 1


def test_the_size_is_counted_without_making_the_weights():
    before = psutil.Process().memory_info().rss
    assert size(recipes.Recipe("r", "vgg19", "digits"), {})[0] == zoo.spec("vgg19").params
    assert psutil.Process().memory_info().rss - before < 300 * 2**20  # its weights would take 575 MB
    assert keras.Variable(np.ones(2)).numpy().sum() == 2, "the uncounted weights were made later"


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband", "grid"])
def test_a_seed_decides_what_is_proposed(algorithm):
    first, same, other = (answers(ask(algorithm, seed)) for seed in (0, 0, 1))
    assert len(first) == 8 and first == same
    assert (first == other) == (algorithm == "grid")


def test_neighbouring_seeds_draw_other_values():
    drawn = [{values["learning_rate"] for values in answers(ask("random", seed, trials=20))} for seed in range(6)]
    assert sum(map(len, drawn)) == len(set.union(*drawn)) == 120


def test_a_bayesian_search_nears_the_best_and_goes_on_as_if_never_stopped():
    whole = answers(ask("bayesian", trials=12))
    rates = [abs(np.log10(values["learning_rate"]) + 2) for values in whole]
    assert np.mean(rates[-4:]) < np.mean(rates[:3])
    kept = [{"values": values, "refused": []} for values in whole[:9]]
    again = answers(ask("bayesian", trials=12, recorded=lambda number: kept[number] if number < 9 else None))
    assert again == whole


def test_a_bayesian_search_that_has_to_draw_goes_on_as_if_never_stopped():
    """Where the process proposes what was tried already, a candidate is drawn in its place."""
    def few():
        hp = kt.HyperParameters()
        hp.Choice("learning_rate", [10 ** (-n / 4) for n in range(4, 14)])
        hp.Fixed("batch", 32)
        return hp
    whole = answers(ask("bayesian", trials=10, space=few()))
    assert len({values["learning_rate"] for values in whole}) == len(whole) == 10
    again = answers(ask("bayesian", trials=10, space=few(), recorded=lambda number: (
        {"values": whole[number], "refused": []} if number < 7 else None)))
    assert again == whole


def test_what_failed_is_not_proposed_for_ever():
    asked = ask("bayesian", trials=14)
    proposed = []
    while (trial := asked.create_trial("search")).status == "RUNNING":
        rate = trial.hyperparameters.values["learning_rate"]
        proposed.append(rate)
        trial.status = "FAILED" if rate > 0.02 else "COMPLETED"
        if rate <= 0.02:
            asked.update_trial(trial.trial_id, {OBJECTIVE: np.log10(rate)})
        asked.end_trial(trial)
    assert len(proposed) == 14 and min(proposed[-5:]) <= 0.02


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband", "grid"])
def test_candidates_over_the_limit_take_no_trial(algorithm):
    asked = ask(algorithm, feasible=lambda values: values["batch"] < 128)
    found = answers(asked)
    assert len(found) == 8 and {values["batch"] for values in found} == {32, 64}


def test_a_space_without_a_candidate_ends_the_search():
    assert answers(ask("random", feasible=lambda values: False)) == []


def test_hyperband_gives_more_epochs_to_the_better_half():
    rounds = answers(ask("hyperband", trials=10))
    assert [values["tuner/epochs"] for values in rounds] == [2] * 5 + [6] * 5
    scores = [-abs(np.log10(values["learning_rate"]) + 2) for values in rounds]
    assert scores[5] == max(scores[:5]) and int(rounds[5]["tuner/trial_id"]) == int(np.argmax(scores[:5]))


def test_hyperparameters_are_pinned_and_wrong_ones_named():
    declared = spaces.declared(spaces.default, DIGITS, FIXED)
    free = {hp.name for hp in declared.space if not isinstance(hp, kt.engine.hyperparameters.Fixed)}
    assert free == {"learning_rate", "batch"}
    assert declared.get("dropout") == 0.0 and type(declared.get("dropout")) is float
    with pytest.raises(UsageError, match="Unknown hyperparameter of --fix 'bacth'. Did you mean 'batch'"):
        spaces.declared(spaces.default, DIGITS, ["bacth=3"])
    with pytest.raises(UsageError, match="batch must be a whole number"):
        spaces.declared(spaces.default, DIGITS, ["batch=many"])
    with pytest.raises(UsageError, match="batch must be at least 1"):
        spaces.declared(spaces.default, DIGITS, ["batch=0"])
    with pytest.raises(UsageError, match="--fix cannot pin momentum"):
        spaces.declared(momentum_of_sgd, DIGITS, ["momentum=0.5"])


def momentum_of_sgd(hp, recipe):
    optimizer = hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        return {"optimizer": optimizer, "momentum": hp.Float("momentum", 0.0, 0.99) or 0.9}


def units_of_each_layer(hp, recipe):
    return {"hidden": tuple(hp.Choice(f"units{i}", [8, 16]) for i in range(hp.Int("layers", 1, 3)))}


def test_what_is_asked_for_at_some_values_only_is_searched_too():
    recipe = recipes.Recipe("r", "mlp", "digits")
    declared = spaces.declared(units_of_each_layer, recipe)
    assert {hp.name for hp in declared.space} == {"layers", "units0", "units1", "units2"}
    plan = Plan(recipe, space=units_of_each_layer)
    drawn = {candidate(plan, declared, values).model_args["hidden"]
             for values in answers(oracle("grid", declared, lambda values: True, lambda number: None, trials=None, seed=0,
                                          epochs=2), score=lambda values: 0.5)}
    assert len(drawn) == 2 + 4 + 8

    def seldom(hp, recipe):
        return {"hidden": (8,), "dropout": hp.Float("rate", 0, 0.5) if hp.Int("number", 0, 10**9) == 10**9 - 1 else 0.0}
    declared = spaces.declared(seldom, recipe)
    with pytest.raises(UsageError, match="The space asks for rate at these values, and too seldom"):
        candidate(Plan(recipe, space=seldom), declared, {"number": 10**9 - 1})


@pytest.mark.parametrize("name, fields, left", [
    ("resnet50", {"model_args": {"weights": "imagenet"}}, {"dropout"}), ("resnet50", {}, {"dropout", "width"}),
    ("textcnn", {"vectors": "vectors.txt"}, {"dropout", "embedding_dropout", "filters", "first_window", "windows_count"})])
def test_the_sizes_of_weights_that_come_ready_made_are_not_searched(name, fields, left):
    hp = kt.HyperParameters()
    spaces.network(hp, recipes.Recipe("r", name, "digits", **fields))
    assert {found.name for found in hp.space} == left


@pytest.mark.parametrize("text, words", [
    ("def space(hp): return {'batch': hp.Choice('batch', [8, 16]), 'padding': 'same'}", None),
    ("from tuning.spaces import default\ndef space(hp, recipe):\n    hp.Choice('batch', [8])\n    return default(hp, recipe)",
     None),
    ("def spcae(hp): return {}", "defines no function space"),
    ("def space(hp): return {'epochs': hp.Int('epochs', 1, 9)}", "epochs are not searched: --epochs says"),
    ("def space(hp): return {'bacth': 3}", "Unknown field or argument of lenet5 in the space: 'bacth'. Did you mean 'batch'"),
    ("def space(hp): return 3", "must return a dict"),
    ("import nosuchmodule", "cannot be run: ModuleNotFoundError"),
])
def test_a_space_of_the_users_own(tmp_path, text, words):
    (tmp_path / "space.py").write_text(text)
    if words is None:
        declared = spaces.declared(spaces.load(tmp_path / "space.py"), DIGITS)
        assert declared.get("batch") == 8
        return
    with pytest.raises(UsageError, match=words):
        spaces.declared(spaces.load(tmp_path / "space.py"), DIGITS)


def test_a_missing_space_is_named(tmp_path):
    with pytest.raises(UsageError, match="Cannot read the space .*gone.py: No such file"):
        spaces.load(tmp_path / "gone.py")


@pytest.mark.parametrize("program, words", [
    ("def space(hp:", "cannot be run: SyntaxError"), ("x = 1", "defines no function space"),
    ("def space(hp): raise RuntimeError('out')", "failed: RuntimeError: out"),
    ("def space(hp, recipe): return hp.Float('rate')", "failed: TypeError: .*missing"),
])
def test_a_space_that_fails_is_named(tmp_path, program, words):
    (tmp_path / "space.py").write_text(program)
    with pytest.raises(UsageError, match=f"space.py {words}"):
        spaces.declared(spaces.load(tmp_path / "space.py"), DIGITS)
