"""The results that the README tells of, made again."""
import json

from training import recipes, rerun, results


def test_results_are_rerun_and_what_is_finished_is_passed_by(tmp_path, monkeypatch, capfd):
    short = recipes.Recipe("short-digits", "lenet5", "digits", epochs=1, batch=128)
    for recipe in (short, recipes.Recipe("lost-photos", "lenet5", str(tmp_path / "lost"))):
        monkeypatch.setitem(recipes.RECIPES, recipe.name, recipe)
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    results.README.write_text(results.readme("# Mine\n"))
    assert rerun.main(["lost-photos", "short-digits", "--seeds", "0", "1", "--folder", str(tmp_path / "runs")]) == 1
    said = capfd.readouterr()
    assert said.out.count("test accuracy") == 2 and said.err.count("results: lost-photos, seed") == 2, said.err
    runs = json.loads((tmp_path / "results/short-digits.json").read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1] and runs[0]["data"] == "digits"
    assert "| `short-digits` | `lenet5` | digits |" in results.README.read_text()
    before = (tmp_path / "runs/short-digits-0/metrics.json").stat().st_mtime_ns
    assert rerun.main(["--folder", str(tmp_path / "runs")]) == 0, "without names: what is recorded"
    assert "epoch" not in capfd.readouterr().out
    assert (tmp_path / "runs/short-digits-0/metrics.json").stat().st_mtime_ns == before
    assert rerun.main(["short-digit"]) == 2 and "Did you mean 'short-digits'?" in capfd.readouterr().err
