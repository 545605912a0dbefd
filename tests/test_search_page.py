"""The page of a search: what it computes, and its charts in a browser."""
import json
import re

import numpy as np
import pytest

from zoo.training import recipes
from zoo.tuning import report
from zoo.tuning.importance import importances, varied


def rows(count=24, failed=1):
    """Trials whose accuracy depends on the learning rate, a little on the optimizer, else not."""
    generator = np.random.default_rng(0)
    trials = []
    for trial in range(count):
        values = {"learning_rate": float(10 ** generator.uniform(-4, -1)),
                  "optimizer": ("sgd", "adam")[trial % 2], "units": int(generator.integers(8, 256)),
                  "batch_size": int(2 ** generator.integers(4, 8))}
        score = 0.9 - 0.1 * abs(np.log10(values["learning_rate"]) + 2.5)
        score += 0.01 * (values["optimizer"] == "adam")
        trials.append({"trial": trial, "status": "completed", "score": score, "values": values,
                       "params": 100 * values["units"], "epochs": 3, "seconds": 2.0,
                       "val_loss": 1 - score})
    for trial in range(count, count + failed):
        trials.append({"trial": trial, "status": "failed", "values": {"learning_rate": 5.0},
                       "error": "<b>out</b> of memory"})
    return trials


@pytest.fixture(scope="module")
def page():
    return report.page(recipes.get_recipe("lenet5-digits"), rows())


def test_what_decides_is_important():
    trials = [row["values"] for row in rows(60, 0)]
    shares = importances(trials, [row["score"] for row in rows(60, 0)])
    assert list(shares)[0] == "learning_rate" and shares["learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1) and set(shares) == set(trials[0])
    # the score is one of the values alone
    shares = importances(trials, [float(values["optimizer"] == "adam") for values in trials])
    assert shares["optimizer"] > 0.99


def test_few_trials_or_equal_scores_have_no_importance():
    trials = [row["values"] for row in rows(9, 0)]
    assert importances(trials, list(range(9))) == {}
    trials = [row["values"] for row in rows(20, 0)]
    assert importances(trials, [0.5] * 20) == {}
    few = report.page(recipes.get_recipe("lenet5-digits"), rows(5))
    assert "Shown from 10 trials with a score on; there are 5." in few


def test_a_hyperparameter_that_some_trials_lack_varies():
    trials = [{"a": 1, "b": "x", "c": n} if n % 2 else {"a": 1, "c": n} for n in range(12)]
    assert varied(trials) == ["c", "b"] or varied(trials) == ["b", "c"]
    assert importances(trials, [float("b" in values) for values in trials])["b"] > 0.9


def test_the_page_escapes_errors_and_lists_the_best_first(page):
    assert "&lt;b&gt;out" in page and "<b>out" not in page and "data-live" not in page
    order = [int(number) for number in re.findall(r'<tr data-trial="(\d+)"', page)]
    scores = {row["trial"]: row.get("score", 0) for row in rows()}
    assert order == sorted(scores, key=lambda trial: -scores[trial])


def test_every_trial_is_in_every_chart(browser, page, tmp_path):
    (tmp_path / "search.html").write_text(page)
    best = max(rows(failed=0), key=lambda row: row["score"])
    for width, scheme, touch in ((1280, "light", False), (390, "dark", True)):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme,
                               has_touch=touch)
        faults, urls = [], []
        tab.on("pageerror", lambda fault, faults=faults: faults.append(fault))
        tab.on("console", lambda line, faults=faults: faults.append(line.text))
        tab.on("request", lambda request, urls=urls: urls.append(request.url))
        tab.goto(f"file://{tmp_path}/search.html")
        for chart in ("#scores", "#params", "#slices figure >> nth=0", "#slices figure >> nth=3"):
            assert tab.locator(chart).locator(".dot").count() == 24, chart
            assert tab.locator(chart).locator(".dot.best").get_attribute("data-trial") == str(
                best["trial"])
        assert tab.locator("#parallel .line").count() == 24
        assert tab.locator("#slices figure").count() == 4
        names = tab.locator("#parallel .name").all_text_contents()
        assert names == [*rows()[0]["values"], "validation accuracy"]
        ticks = tab.locator("#parallel .axis").nth(0).locator("text").all_text_contents()
        assert ticks == ["0.001", "0.01"]  # logarithmic
        sizes = tab.locator("#parallel .axis").nth(3).locator("text").all_text_contents()
        used = {row["values"]["batch_size"] for row in rows(failed=0)}
        assert sizes == list(map(str, sorted(used)))
        # one trial is followed through all charts, and the table
        dot = tab.locator('#scores .dot[data-trial="5"]')
        (dot.tap if touch else dot.click)()
        chosen = tab.locator(".chosen")
        assert {each.get_attribute("data-trial") for each in chosen.all()} == {"5"}
        assert chosen.count() == 1 + 4 + 1 + 1 + 1  # scores, slices, params, line, row
        assert "Trial 5: 0." in tab.inner_text("#tip") and tab.url.endswith("#trial=5")
        row = tab.locator('#trials tr[data-trial="7"]')
        row.focus()
        tab.keyboard.press("Enter")
        assert tab.url.endswith("#trial=7")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert not faults and all(url.startswith("file:") or url.startswith("data:")
                                  for url in urls)
        tab.close()


def test_a_search_without_a_score_has_a_page(browser, tmp_path):
    failed = rows(0, 2)
    (tmp_path / "search.html").write_text(report.page(recipes.get_recipe("lenet5-digits"), failed))
    tab = browser.new_page()
    faults = []
    tab.on("pageerror", lambda fault: faults.append(fault))
    tab.goto(f"file://{tmp_path}/search.html")
    assert tab.locator("#trials tbody tr").count() == 2 and not faults
    assert json.loads(tab.locator("#data").inner_text())["best"] is None


@pytest.mark.slow
def test_the_page_of_a_running_search_reloads_itself(browser, tmp_path):
    recipe, file = recipes.get_recipe("lenet5-digits"), tmp_path / "search.html"
    file.write_text(report.page(recipe, rows(3, 0), 24))
    tab = browser.new_page()
    tab.goto(f"file://{file}#trial=1")
    assert tab.locator("#scores .dot").count() == 3 and "3 of 24" in tab.inner_text("dl")
    file.write_text(report.page(recipe, rows(7, 0), 24))
    tab.wait_for_function("document.querySelectorAll('#scores .dot').length == 7", timeout=30_000)
    assert tab.locator("#trials tr.chosen").get_attribute("data-trial") == "1"
    file.write_text(report.page(recipe, rows(8, 0)))
    tab.wait_for_function("document.querySelectorAll('#scores .dot').length == 8", timeout=30_000)
    assert tab.locator(".live").count() == 0
