"""`make results`: recorded results, trained again."""
import json
import subprocess

from zoo.training import recipes
from zoo.training.engine import manifest
from zoo.training.results import record as results
from zoo.training.results import rerun


def test_results_are_rerun_and_what_is_finished_is_passed_by(tmp_path, monkeypatch, capfd):
    short = recipes.Recipe("short-digits", "lenet5", "digits", epochs=1, batch_size=128)
    for recipe in (short, recipes.Recipe("lost-photos", "lenet5", str(tmp_path / "lost"))):
        monkeypatch.setitem(recipes.RECIPES, recipe.name, recipe)
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    results.PAGE.write_text(results.page("# Mine\n"))
    folder = ["--folder", str(tmp_path / "runs")]
    assert rerun.main(["lost-photos", "short-digits", "--seeds", "0", "1", *folder]) == 1
    said = capfd.readouterr()
    assert said.out.count("test accuracy") == 2
    assert said.err.count("results: lost-photos, seed") == 2, said.err
    runs = json.loads((tmp_path / "results/short-digits.json").read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1] and runs[0]["data"] == "digits"
    assert "| `short-digits` | `lenet5` | digits |" in results.PAGE.read_text()
    before = (tmp_path / "runs/short-digits-0/metrics.json").stat().st_mtime_ns
    assert rerun.main(folder) == 0, "without names: what is recorded"
    assert "epoch" not in capfd.readouterr().out
    assert (tmp_path / "runs/short-digits-0/metrics.json").stat().st_mtime_ns == before
    mixed = ["--seeds", "2", "--precision", "mixed_bfloat16"]
    assert rerun.main(["short-digits", *mixed, *folder]) == 0
    assert "mixed_bfloat16)" in results.rows("short-digits")[0]["machine"]
    assert rerun.main(["short-digits", "--seeds", "3", "--precision", "half_of_it", *folder]) == 1
    assert "precision" in capfd.readouterr().err
    assert rerun.main(["short-digit"]) == 2
    assert "Did you mean 'short-digits'?" in capfd.readouterr().err


def test_a_commit_is_dirty_if_its_python_has_changed(tmp_path, monkeypatch):
    """Not if a result was recorded, or the README's table written, since."""
    def git(*args):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=A", "-c", "user.email=a@b.c",
                        *args], check=True)
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "training/engine/manifest.py"))
    assert manifest.commit() is None
    git("init", "--quiet")
    (tmp_path / "training/engine").mkdir(parents=True)
    (tmp_path / "training/engine/manifest.py").touch()
    (tmp_path / "README.md").touch()
    git("add", "--all")
    git("commit", "--quiet", "--message", "Begin")
    clean = manifest.commit()
    assert len(clean) >= 7 and not clean.endswith("-dirty")
    (tmp_path / "README.md").write_text("a result")
    assert manifest.commit() == clean
    (tmp_path / "training/engine/manifest.py").write_text("changed = True")
    assert manifest.commit() == f"{clean}-dirty"
