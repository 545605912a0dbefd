"""What a recipe can say about training does what it says."""
import dataclasses

import keras
import numpy as np
import pytest

from zoo.errors import UserError
from zoo.training import recipes
from zoo.training.engine import fit, optimizers, progress
from zoo.training.engine.fit import train
from zoo.training.recipe import OPTIMIZERS, SCHEDULES

DIGITS = recipes.Recipe(
    "r", "lenet5", "digits", epochs=2, batch_size=256, warmup=0.0, schedule="constant"
)
RESNET = dataclasses.replace(
    DIGITS, model="resnet20", model_args={"input_shape": (8, 8, 1), "n": 1}
)


def options(recipe=DIGITS, **fields):
    return dataclasses.replace(recipe, **fields)


def stepped(recipe, gradients, start=1.0, stages=None):
    """The kernel after one call of the recipe's optimiser for each of `gradients`, numbers."""
    made = optimizers.optimizer(recipe, 10, stages)
    kernel = keras.Variable(np.full((2, 3), start, "float32"), name="kernel")
    made.build([kernel])
    for gradient in gradients:
        made.apply([keras.ops.full((2, 3), gradient)])
    return kernel.numpy()[0, 0]


def test_a_recipe_knows_the_optimizers():
    """By name, without TensorFlow."""
    assert tuple(optimizers.OPTIMIZERS) == OPTIMIZERS


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_goes_against_the_gradient(name):
    assert stepped(options(optimizer=name, learning_rate=0.1), [1.0] * 3) < 1


def test_rmsprop_of_the_inception_papers_divides_by_the_root_of_one_and_more():
    """TensorFlow's RMSProp with decay 0.9, epsilon 1 and momentum 0.9, by hand."""
    recipe = options(optimizer="rmsprop_momentum", momentum=0.9, learning_rate=0.1)
    weight, mean, moved = 1.0, 0.0, 0.0
    for gradient in (0.5, -0.2, 1.5):
        mean = 0.9 * mean + 0.1 * gradient**2
        moved = 0.9 * moved + 0.1 * gradient / (mean + 1) ** 0.5
        weight -= moved
    assert stepped(recipe, [0.5, -0.2, 1.5]) == pytest.approx(weight, abs=1e-6)


@pytest.mark.parametrize("fields, expected", [
    ({"schedule": "constant", "warmup": 2.0}, {0: 0, 10: 0.1, 20: 0.2, 90: 0.2}),
    ({"schedule": "step"}, {0: 0.2, 49: 0.2, 50: 0.02, 74: 0.02, 75: 0.002, 99: 0.002}),
    ({"schedule": "one_cycle"}, {0: 0.008, 45: 0.2, 90: 0.008, 100: 0.00008}),
    ({"schedule": "cosine"}, {0: 0.2, 50: 0.1, 100: 0}),
    ({"schedule": "exponential", "decay": 0.5, "decay_epochs": 2.5},
     {0: 0.2, 24: 0.2, 25: 0.1, 49: 0.1, 50: 0.05, 99: 0.025}),
    ({"schedule": "exponential", "decay_epochs": 4.0, "warmup": 2.0},
     {0: 0, 10: 0.1, 20: 0.2, 39: 0.2, 40: 0.02, 80: 0.002}),
])
def test_schedules_go_through_their_points(fields, expected):
    rate = optimizers.optimizer(options(epochs=10, learning_rate=0.2, **fields), 10)._learning_rate
    assert {step: float(rate(step)) for step in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_goes_by_batches_however_many_make_an_update(schedule, accumulate):
    recipe = options(epochs=10, learning_rate=0.2, schedule=schedule, accumulation_steps=accumulate)
    made, kernel = (
        optimizers.optimizer(recipe, 10),
        keras.Variable(np.ones((2, 3), "float32"), name="kernel"),
    )
    made.build([kernel])
    for batch in range(100):
        if batch in (0, 25, 50, 75):
            assert float(made.learning_rate) == pytest.approx(
                float(optimizers._learning_rate(recipe, 10)(batch))
            )
            assert batch != 25 or float(made.learning_rate) > 0.1
        made.apply([keras.ops.ones((2, 3))])


def test_the_average_of_the_weights_goes_by_updates():
    averages = []
    for accumulate in (1, 4):
        sgd = options(
            optimizer="sgd",
            momentum=0.0,
            learning_rate=1.0,
            schedule="constant",
            ema=0.9,
            accumulation_steps=accumulate,
        )
        made, kernel = (
            optimizers.optimizer(sgd, 100),
            keras.Variable(np.zeros((2, 3), "float32"), name="kernel"),
        )
        made.build([kernel])
        for _ in range(10 * accumulate):
            made.apply([-keras.ops.ones((2, 3))])
        for _ in range(
            accumulate - 1
        ):  # the batches up to the next update, during which the average still moves
            made.apply([keras.ops.zeros((2, 3))])
        averages.append(made._model_variables_moving_average[0].numpy()[0, 0])
    assert averages[0] == pytest.approx(averages[1], rel=1e-4)


def test_accumulated_gradients_make_one_update_of_their_mean():
    sgd = options(optimizer="sgd", momentum=0.0, learning_rate=0.1)
    assert stepped(options(sgd, accumulation_steps=2), [1.0, 3.0]) == pytest.approx(
        stepped(sgd, [2.0])
    )
    assert stepped(options(sgd, accumulation_steps=2), [1.0]) == 1


def test_clipping_bounds_the_norm_of_the_gradient():
    sgd = options(optimizer="sgd", momentum=0.0, learning_rate=1.0, clip_norm=0.6)
    assert stepped(sgd, [100.0], start=0.0) == pytest.approx(-0.6 / 6 ** 0.5)


def test_a_stage_follows_its_own_share_of_the_rate():
    sgd = options(
        optimizer="sgd", momentum=0.0, learning_rate=1.0, stage_lr_multipliers={"stem": 0.1}
    )
    assert stepped(sgd, [1.0], stages=["stem"]) == pytest.approx(0.9)
    assert stepped(sgd, [1.0], stages=["stage1"]) == 0


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
@pytest.mark.parametrize("factor", [1.0, 0.1, 0.0])
def test_weight_decay_follows_the_rate_of_the_stage(name, factor):
    """With a gradient of zero, only decay moves a kernel: by 1 - rate * factor * decay a step."""
    recipe = options(optimizer=name, learning_rate=0.5, weight_decay=0.1,
                     stage_lr_multipliers={"stem": factor})
    expected = np.float32((1 - 0.5 * factor * 0.1) ** 3)
    assert stepped(recipe, [0.0] * 3, stages=["stem"]) == pytest.approx(expected, rel=1e-6)
    unscaled = options(recipe, stage_lr_multipliers={})
    assert stepped(recipe, [1.0] * 3, stages=["c1"]) == stepped(unscaled, [1.0] * 3)
    if not factor:
        assert stepped(recipe, [1.0] * 3, stages=["stem"]) == 1


def test_weight_decay_of_a_scaled_stage_spares_biases_and_waits_for_the_update():
    recipe = options(optimizer="sgd", momentum=0.0, learning_rate=1.0, weight_decay=0.5,
                     accumulation_steps=2, stage_lr_multipliers={"stem": 0.5})
    made = optimizers.optimizer(recipe, 10, ["stem", "stem"])
    kernel, bias = (keras.Variable(np.ones(3, "float32"), name=name) for name in ("kernel", "bias"))
    made.build([kernel, bias])
    for expected in (1.0, 0.75 - 0.5 * 0.1):
        made.apply([keras.ops.full((3,), 0.1)] * 2)
        np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(bias.numpy(), 1 - 0.5 * 0.1, rtol=1e-6)


@pytest.mark.parametrize("ema", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
def test_a_stage_of_factor_zero_does_not_move_at_all(tmp_path, ema):
    """Neither its kernels nor the moving statistics of its batch normalization."""
    recipe = options(RESNET, optimizer="adamw", weight_decay=0.5, learning_rate=0.01, ema=ema,
                     validation_split=0.0, frozen=["stem", "stage1"], unfreeze_every=1,
                     stage_lr_multipliers={"stem": 0, "stage1": 0.5})
    train(recipe, tmp_path / "run", log=False)
    keras.utils.set_random_seed(0)
    start = {v.path: v.numpy() for v in fit.prepare(recipe)[1]().variables}
    for stage, moves in (("stem", False), ("stage1", True), ("stage2", True)):
        values = weights_of(tmp_path / "run", stage)
        same = [np.array_equal(value, start[path]) for path, value in values.items()]
        assert same and not any(same) if moves else all(same), stage


def weights_of(run, stage):
    """Return {path: value} of all variables of `stage`, moving statistics included."""
    model = keras.models.load_model(run / "model.keras")
    return {v.path: v.numpy() for v in model.variables if v.path.startswith(stage)}


def test_frozen_stages_do_not_move_until_they_are_thawed(tmp_path):
    recipe = options(RESNET, frozen=["stem", "stage1"])
    train(recipe, tmp_path / "frozen", log=False)
    train(options(recipe, unfreeze_every=1), tmp_path / "thawed", log=False)
    keras.utils.set_random_seed(0)
    start = {v.path: v.numpy() for v in fit.prepare(recipe)[1]().variables}
    for run, stage, moves in (
        ("frozen", "stage1", False),
        ("frozen", "stage2", True),
        ("thawed", "stage1", True),
        ("thawed", "stem", False),
    ):
        moved = [
            not np.array_equal(value, start[path])
            for path, value in weights_of(tmp_path / run, stage).items()
        ]
        assert moved and all(moved) if moves else not any(moved), (run, stage)


def test_thawing_goes_on_after_an_interrupt(tmp_path, monkeypatch):
    recipe = options(
        RESNET,
        frozen=["all"],
        unfreeze_every=1,
        stage_lr_multipliers={"stage3": 0.5},
        epochs=3,
        patience=3,
        ema=0.9,
    )
    train(recipe, tmp_path / "whole", log=False)
    with monkeypatch.context() as patch:
        patch.setattr(progress.Report, "on_train_batch_begin",
                      lambda self, batch, logs=None: self.state.step == 8 and stop())
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "again", log=False)
        patch.setattr("zoo.training.engine.callbacks._SECONDS", 0)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "again", log=False)
    train(recipe, tmp_path / "again", log=False)
    assert (tmp_path / "again/history.csv").read_bytes() == (
        tmp_path / "whole/history.csv"
    ).read_bytes()


@pytest.mark.slow
def test_a_step_is_traced_again_only_where_a_stage_is_unfrozen(tmp_path, monkeypatch):
    """Once from each start and once for each unfrozen stage, however many epochs follow."""
    traced, fits = [], []
    train_step, model_fit = keras.Model.train_step, keras.Model.fit

    def step(self, data):
        traced.append(sum(np.prod(variable.shape) for variable in self.trainable_variables))
        return train_step(self, data)

    def fit_once(self, *args, **options):
        fits.append((options["initial_epoch"], options["epochs"]))
        return model_fit(self, *args, **options)
    monkeypatch.setattr(keras.Model, "train_step", step)
    monkeypatch.setattr(keras.Model, "fit", fit_once)
    recipe = options(RESNET, frozen=["stem", "stage2"], unfreeze_every=2, epochs=9)
    train(recipe, tmp_path / "run", log=False)
    assert fits == [(0, 2), (2, 4), (4, 9)]
    assert len(traced) == 3 and traced == sorted(set(traced))
    traced.clear()
    train(options(recipe, frozen=[]), tmp_path / "whole", log=False)
    assert len(traced) == 1


def stop():
    raise KeyboardInterrupt


def test_an_unknown_stage_is_named():
    with pytest.raises(UserError, match="Unknown stage of resnet20 'stage9'. Did you mean 'stage"):
        fit.prepare(options(RESNET, frozen=["stage9"]))[1]()


def test_the_averaged_weights_are_kept(tmp_path):
    train(options(epochs=1, ema=0.9), tmp_path / "run", log=False)
    state = np.load(tmp_path / "run/checkpoint.npz")
    optimizer = [value for key, value in state.items() if key.startswith("optimizer")]
    for i, kept in enumerate(keras.models.load_model(tmp_path / "run/model.keras").get_weights()):
        assert any(np.array_equal(kept, value) for value in optimizer) and not np.array_equal(
            kept, state[f"model{i}"]
        )


def test_training_stops_when_validation_gets_no_better(tmp_path):
    metrics = train(options(learning_rate=0.0, epochs=9, patience=2), tmp_path / "run", log=False)
    assert metrics["epochs"] == 3 and metrics["best_epoch"]["epoch"] == 1


def test_the_initializer_draws_every_kernel():
    model = fit.prepare(options(initializer="zeros"))[1]()
    assert all(
        ("kernel" in v.name) == (not v.numpy().any()) or "bias" in v.name
        for v in model.trainable_variables
    )
    with pytest.raises(UserError, match="Unknown initializer 'he_norml'. Did you mean 'he_normal'"):
        fit.prepare(options(initializer="he_norml"))[1]()


@pytest.mark.parametrize(
    "fields, words",
    [
        (
            {"initializer": "identity"},
            r"'identity' cannot draw the kernels of lenet5. Received: the shape \(5, 5, 1, 6\)",
        ),
        ({"initializer": "get"}, "Unknown initializer 'get'"),
        (
            {"patience": 2, "validation_split": 0.0},
            "patience needs a validation split.* Received: patience=2, validation_split=0.",
        ),
        ({"stage_lr_multipliers": {"all": 0.1}}, "Unknown stage of lenet5 'all'"),
        (
            {"accumulation_steps": 13},
            "accumulation_steps must be at most 12, the number of batches in all epochs. "
            "Received: 13.",
        ),
    ],
)
def test_what_could_do_nothing_is_refused(tmp_path, fields, words):
    with pytest.raises(UserError, match=words):
        train(options(**fields), tmp_path / "run", log=False)
    assert not (tmp_path / "run").exists()


def test_a_limit_leaves_training_examples_out_and_no_others():
    whole, some = (fit.prepare(options(max_train_examples=limit))[0] for limit in (0, 200))
    assert len(some.train) == 200 and set(some.train.indices) < set(whole.train.indices)
    assert np.array_equal(some.test.indices, whole.test.indices) and np.array_equal(
        some.validation.indices, whole.validation.indices
    )
    assert np.bincount(some.train.labels).min() >= 18
