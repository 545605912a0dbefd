"""Searches: what is proposed, what a trial is, what a search leaves."""
import csv
import dataclasses
import json

import keras
import keras_tuner as kt
import numpy as np
import psutil
import pytest

import tuning
import zoo
from training import recipes
from tuning import figures, refit, report, spaces
from tuning.attempt import size
from tuning.oracles import OBJECTIVE, oracle
from tuning.search import Plan, search
from zoo.errors import UsageError, UserError

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


def answers(asked, count=100):
    """What an oracle proposes when a trial's score is a smooth function of what was proposed."""
    found = []
    while len(found) < count and (trial := asked.create_trial("search")).status == "RUNNING":
        values = trial.hyperparameters.values
        found.append(dict(values))
        score = 1 - abs(np.log10(values["learning_rate"]) + 2) - values["batch"] / 1e4
        asked.update_trial(trial.trial_id, {OBJECTIVE: score})
        trial.status = "COMPLETED"
        asked.end_trial(trial)
    return found


def ask(algorithm, seed=0, trials=8, feasible=lambda values: True, recorded=lambda number: None):
    return oracle(algorithm, two(), feasible, recorded, trials=trials, seed=seed, epochs=6)


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


@pytest.mark.parametrize("text, words", [
    ("def space(hp): return {'batch': hp.Choice('batch', [8, 16]), 'padding': 'same'}", None),
    ("from tuning.spaces import default\ndef space(hp, recipe):\n    hp.Choice('batch', [8])\n    return default(hp, recipe)",
     None),
    ("def spcae(hp): return {}", "defines no function space"),
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


FATES = ("die", "raise", "nan", "over", "fine", "better")
MISHAP = recipes.Recipe("mishap", "tests.mishaps:mishap", "digits", epochs=2, batch=256, schedule="constant",
                        learning_rate=1e-3)


def mishaps(hp, recipe):
    """The first trials cannot end well, each for a reason of its own."""
    fate = hp.Choice("fate", FATES)
    found = {"learning_rate": {"nan": 3e38, "better": 0.01}.get(fate, recipe.learning_rate),
             "fate": fate if fate in ("die", "raise") else "fine"}
    return found | ({"input_shape": (16, 16, 1)} if fate == "over" else {})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished search in which three trials of five fail: its directory, rows and plan."""
    run = tmp_path_factory.mktemp("search") / "run"
    plan = Plan(MISHAP, "grid", space=mishaps, max_params=1000, trials=10, keep=1)
    return run, search(plan, run, log=False), plan


def test_each_failure_is_told_and_the_search_goes_on(finished):
    run, rows, _ = finished
    table = list(csv.DictReader((run / "trials.csv").read_text().splitlines()))
    assert [row["fate"] for row in table] == [fate for fate in FATES if fate != "over"]
    assert [row["status"] for row in table] == ["failed", "failed", "failed", "completed", "completed"]
    for row, words in zip(table[:3], ("SIGKILL", "ArithmeticError: no network can have", "finite number"), strict=True):
        assert words in row["error"] and "\n" not in row["error"]


def test_a_recipe_over_the_limit_is_skipped_by_name(tmp_path):
    plan = Plan(MISHAP, "grid", space=mishaps, max_params=700, trials=2, fixed=("fate=over",))
    with pytest.raises(UserError, match="The first one: 2,570 weights and 2,560 multiply-adds are over the limit"):
        search(plan, tmp_path / "run", log=False)
    assert not list(tmp_path.glob("run/trials/0000/tensorboard")), "it was trained"


def test_the_best_trial_becomes_a_recipe(finished):
    run, rows, plan = finished
    assert rows[0]["values"] == {"fate": "better"} and rows[0]["score"] > rows[1]["score"] > 0.1
    best = recipes.read(run / "best.json")
    assert best.name == "mishap-tuned" and best.learning_rate == 0.01 and best.epochs == plan.recipe.epochs
    assert json.loads((run / "trials/0004/result.json").read_text())["score"] == rows[0]["score"]


def test_only_the_best_weights_stay(finished):
    run, rows, plan = finished
    assert {path.parent.name for path in run.glob("trials/*/*.npz")} == {f"{rows[0]['trial']:04}"}


def test_a_finished_search_is_not_done_again(finished):
    run, rows, plan = finished
    before = {path: path.stat().st_mtime_ns for path in run.glob("trials/*/*")}
    assert search(plan, run, log=False) == rows
    assert {path: path.stat().st_mtime_ns for path in run.glob("trials/*/*")} == before


@pytest.mark.parametrize("changed, words", [({"algorithm": "random"}, "algorithm is grid there, random here"),
                                            ({"max_params": 7}, "max_params is 1000 there, 7 here"),
                                            ({"space": space}, "space is "),
                                            ({"recipe": dataclasses.replace(MISHAP, seed=5)}, "of another recipe")])
def test_another_search_is_not_mixed_in(finished, changed, words):
    run, rows, plan = finished
    kept = (run / "trials.csv").read_text()
    with pytest.raises(UserError, match=words):
        search(dataclasses.replace(plan, **changed), run, log=False)
    assert (run / "trials.csv").read_text() == kept


def test_data_that_cannot_be_tuned_on_ends_it_before_the_first_trial(tmp_path):
    for recipe, words in ((dataclasses.replace(DIGITS, data="no/such.npz"), "no/such.npz"),
                          (dataclasses.replace(DIGITS, validation=0.0), "needs a validation part")):
        with pytest.raises(UserError, match=words):
            search(Plan(recipe), tmp_path / "run", log=False)
        assert not list(tmp_path.iterdir())


def test_where_every_trial_fails_the_first_error_is_told(tmp_path):
    with pytest.raises(UserError, match="No trial in .* succeeded. The first one: ArithmeticError: no network"):
        search(Plan(MISHAP, "grid", space=mishaps, fixed=("fate=raise",)), tmp_path / "run", log=False)
    assert "ArithmeticError" in (tmp_path / "run/trials.csv").read_text()


def test_the_command_writes_a_row_for_each_trial_and_a_recipe(zoo_command, tmp_path):
    args = ["tune", "lenet5-digits", "--trials", 5, "--algorithm", "random", "--seed", 0, "--epochs", 1, "--set", "batch=256",
            "--fix", "batch=256", "--run", "R"]
    answer = zoo_command(*args)
    assert answer.returncode == 0 and not answer.stderr, answer.stderr
    assert "rank" in answer.stdout and "5 trials" in answer.stdout
    assert len((tmp_path / "R/trials.csv").read_text().splitlines()) == 6
    assert recipes.read(tmp_path / "R/best.json").epochs == 1


@pytest.mark.parametrize("args, words", [
    (["lenet-mnits"], "Did you mean 'lenet-mnist'"),
    (["lenet5-digits", "--algorithm", "grdi"], "'random', 'bayesian', 'hyperband', 'grid'"),
    (["lenet5-digits", "--fix", "dropot=1"], "Did you mean 'dropout'"),
    (["lenet5-digits", "--seed", "-1"], "-1 is not in the range"),
])
def test_a_mistake_takes_one_line(zoo_command, tmp_path, args, words):
    answer = zoo_command("tune", *args)
    assert answer.returncode == 2 and words in answer.stderr and len(answer.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_every_builder_is_a_hypermodel_of_keras_tuner(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 1)), np.arange(64) % 10
    tuner = kt.Hyperband(tuning.hypermodel("lenet5"), kt.Objective("val_loss", "min"), max_epochs=3, seed=1,
                         directory=tmp_path, project_name="mine")
    assert "batch" in tuner.oracle.get_space()
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(int(self.model.optimizer.iterations.numpy()))

        def on_epoch_begin(self, epoch, logs=None):
            seen.append((epoch, self.params["epochs"]))

        def __deepcopy__(self, memo):
            return self

    tuner.search(images, labels, validation_data=(images, labels), callbacks=[Seen()], verbose=0)
    assert (1, 3) in seen and any(isinstance(step, int) and step > 0 for step in seen), "the optimiser's state was lost"


def test_the_page_needs_nothing_from_elsewhere(finished):
    run, rows, _ = finished
    page = (run / "search.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "http" not in page
    assert page.index("better") < page.index("no network can have this fate"), "the best trial is not the first"


def test_a_space_of_every_kind_is_drawn():
    values = [{"a": 0.001, "b": "x", "c": 1}, {"a": 1.0, "b": "y", "c": 2}, {"a": 0.1, "b": "x", "c": 1}]
    rows = [{"trial": n, "status": "completed", "score": n / 3, "values": chosen} for n, chosen in enumerate(values)]
    rows.append({"trial": 3, "status": "failed", "values": {"a": 5.0, "b": "z", "c": 1}, "error": "<b>"})
    for figure in (figures.scores(rows), figures.slices(rows), figures.parallel(rows)):
        figure.draw_without_rendering()
    scales = {axes.get_xlabel(): axes.get_xscale() for axes in figures.slices(rows).axes}
    assert scales["a"] == "log" and scales["c"] == "linear"
    assert "&lt;b&gt;" in report.page(MISHAP, rows)


def test_the_refit_is_judged_on_the_test_part_with_the_spread_of_its_seeds(finished):
    run, rows, plan = finished
    told = refit.refit(plan, run, repeats=2, log=False)
    assert json.loads((run / "refit.json").read_text()) == told
    assert len(told["tuned"]["test_accuracy"]) == 2 and told["tuned"]["stdev"] is not None
    assert told["difference"] > told["noise"] and "is better" in told["verdict"]  # ten times the rate, of a linear network
    metrics = json.loads((run / "baseline/metrics.json").read_text())
    assert metrics["test_accuracy"] == told["recipe"]["test_accuracy"][0] and (run / "refit-1/model.keras").exists()


@pytest.mark.parametrize("tuned, plain, words", [((0.95, 0.96, 0.97), (0.90, 0.91, 0.92), "is better"),
                                                 ((0.95, 0.96, 0.97), (0.94, 0.95, 0.97), "no better than chance"),
                                                 ((0.90, 0.91, 0.92), (0.95, 0.96, 0.97), "worse"),
                                                 ((0.96,), (0.95,), "no better than chance"), ((0.96,), (0.80,), "is better")])
def test_noise_is_not_taken_for_progress(tuned, plain, words):
    tuned, plain = ({"test_accuracy": scores, "mean": np.mean(scores), "stdev": np.std(scores, ddof=1) if scores[1:] else None}
                    for scores in (tuned, plain))
    assert words in refit._judged(tuned, plain, 360)["verdict"]
