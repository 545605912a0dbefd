"""What the algorithms propose for a space, for any results and any number of resumes."""

import keras_tuner as kt
import numpy as np
import pytest

from zoo.tuning.oracles import OBJECTIVE, make_oracle

# keras-tuner 1.4.8 calls threading.currentThread().getName() at every step of an oracle; a caller
# cannot prevent it.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:(currentThread|getName)\(\) is deprecated:DeprecationWarning"
)

ALGORITHMS = [
    "random",
    pytest.param("bayesian", marks=pytest.mark.slow),  # seconds for each proposal
    "hyperband",
    "grid",
]


def space(hp, recipe):
    return {
        "learning_rate": hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
        "batch": hp.Choice("batch", [32, 64, 128]),
    }


def two():
    hp = kt.HyperParameters()
    space(hp, None)
    return hp


def smooth(values):
    return 1 - abs(np.log10(values["learning_rate"]) + 2) - values["batch"] / 1e4


def answers(asked, count=100, score=smooth):
    """Return what an oracle proposes if `score` of the values is a trial's score."""
    proposed = []
    while len(proposed) < count and (trial := asked.create_trial("search")).status == "RUNNING":
        values = trial.hyperparameters.values
        proposed.append(dict(values))
        asked.update_trial(trial.trial_id, {OBJECTIVE: score(values)})
        trial.status = "COMPLETED"
        asked.end_trial(trial)
    return proposed


def hashed(values):
    return str(sorted(values.items()))


def ask(
    algorithm,
    seed=0,
    trials=8,
    feasible=lambda values: True,
    recorded=lambda number: None,
    space=None,
):
    return make_oracle(
        algorithm, space or two(), feasible, hashed, recorded, trials=trials, seed=seed, epochs=6
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_decides_what_is_proposed(algorithm):
    first, same, other = (answers(ask(algorithm, seed)) for seed in (0, 0, 1))
    assert len(first) == 8 and first == same
    assert (first == other) == (algorithm == "grid")


def test_neighbouring_seeds_draw_other_values():
    drawn = [
        {values["learning_rate"] for values in answers(ask("random", seed, trials=20))}
        for seed in range(6)
    ]
    assert sum(map(len, drawn)) == len(set.union(*drawn)) == 120


@pytest.mark.slow
def test_a_bayesian_search_nears_the_best_and_goes_on_as_if_never_stopped():
    whole = answers(ask("bayesian", trials=12))
    rates = [abs(np.log10(values["learning_rate"]) + 2) for values in whole]
    assert np.mean(rates[-4:]) < np.mean(rates[:3])
    kept = [{"values": values, "refused": []} for values in whole[:9]]
    again = answers(
        ask("bayesian", trials=12, recorded=lambda number: kept[number] if number < 9 else None)
    )
    assert again == whole


@pytest.mark.slow
def test_a_bayesian_search_that_has_to_draw_goes_on_as_if_never_stopped():
    """Where the process proposes what was tried already, a candidate is drawn in its place."""

    def few():
        hp = kt.HyperParameters()
        hp.Choice("learning_rate", [10 ** (-n / 4) for n in range(4, 14)])
        hp.Fixed("batch", 32)
        return hp

    whole = answers(ask("bayesian", trials=10, space=few()))
    assert len({values["learning_rate"] for values in whole}) == len(whole) == 10
    again = answers(
        ask(
            "bayesian",
            trials=10,
            space=few(),
            recorded=lambda number: (
                {"values": whole[number], "refused": []} if number < 7 else None
            ),
        )
    )
    assert again == whole


@pytest.mark.slow
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


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_candidates_over_the_limit_take_no_trial(algorithm):
    asked = ask(algorithm, feasible=lambda values: values["batch"] < 128)
    proposed = answers(asked)
    assert len(proposed) == 8 and {values["batch"] for values in proposed} == {32, 64}


def test_a_space_without_a_candidate_ends_the_search():
    assert answers(ask("random", feasible=lambda values: False)) == []


def test_hyperband_gives_more_epochs_to_the_better_half():
    rounds = answers(ask("hyperband", trials=10))
    assert [values["tuner/epochs"] for values in rounds] == [2] * 5 + [6] * 5
    scores = [-abs(np.log10(values["learning_rate"]) + 2) for values in rounds]
    assert scores[5] == max(scores[:5]) and int(rounds[5]["tuner/trial_id"]) == int(
        np.argmax(scores[:5])
    )


def test_a_grid_of_logarithmic_steps_is_of_integers():
    hp = kt.HyperParameters()
    hp.Int("units", 2, 32, step=2, sampling="log")
    drawn = [values["units"] for values in answers(ask("grid", space=hp), score=lambda values: 0.5)]
    assert drawn == [2, 4, 8, 16, 32] and {type(units) for units in drawn} == {int}
