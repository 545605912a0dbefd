"""The doctor on many files: a random sample, an interrupt, and a look that goes on."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.bad_images import encoded, picture, put
from zoo.training import doctor
from zoo.training.data.checks import image_files
from zoo.training.data.checks.image_files import examine_files, look, memory_file
from zoo.training.data.checks.labels import repeated
from zoo.training.data.image_folder import list_class_folders


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path, cache):
    """300 photographs of two classes, three pairs of them alike, and five damaged files."""
    photos = [encoded(picture(), "JPEG") for _ in range(10)]
    for n in range(300):
        put(tmp_path / "set" / "ab"[n % 2] / f"{n:03}.png", encoded(picture((12, 9)), "PNG"))
    for n in range(3):
        for label in "ab":
            put(tmp_path / "set" / label / f"twice {n}.jpg", photos[n])
    for n in range(5):
        put(tmp_path / "set/a" / f"damaged {n}.jpg", photos[5 + n][:200])
    return tmp_path / "set"


def plain(findings):
    return [(f.kind, f.severity, f.message, tuple(f.files)) for f in findings]


def stop_at(count):
    """A function of progress that interrupts, as Ctrl-C does."""
    def progress(done, total):
        if done >= count:
            raise KeyboardInterrupt
    return progress


def test_a_random_sample_says_of_how_many(folder, monkeypatch):
    monkeypatch.setattr(image_files, "_SAMPLE", 64)
    monkeypatch.setattr(image_files, "_SAMPLE_SECONDS", 1000)
    found = {finding.kind: finding for finding in doctor.examine(str(folder), quick=True)}
    assert found["sample"].message == "64 of 311 files were examined, drawn at random"
    assert "311 of 2 classes: a 158, b 153" in found["counts"].message  # of all
    assert plain(doctor.examine(str(folder), quick=True)) == plain(found.values())
    bad = found.get("truncated")
    assert bad is None or set(bad.files) <= set(map(str, folder.glob("a/damaged*")))
    assert not memory_file(folder).parent.exists()


def test_a_sample_of_few_files_is_all_of_them(folder, monkeypatch):
    monkeypatch.setattr(image_files, "_SAMPLE_SECONDS", 1000)
    assert plain(doctor.examine(str(folder), quick=True)) == plain(doctor.examine(str(folder)))


def test_a_sample_takes_seconds(folder, monkeypatch):
    monkeypatch.setattr(image_files, "_SAMPLE_SECONDS", 0)
    (sample,) = [finding for finding in doctor.examine(str(folder), quick=True)
                 if finding.kind == "sample"]
    assert int(sample.message.split()[0]) < 311


def test_a_sample_of_sound_files_needs_no_tensorflow(folder):
    for file in folder.glob("a/damaged*"):
        file.unlink()
    program = ("import sys; from zoo.training.doctor import examine; "
               f"print(len(examine({str(folder)!r}, quick=True)), 'tensorflow' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split()[1:] == ["False"], done.stderr
    assert int(done.stdout.split()[0]) == len(doctor.examine(str(folder)))


def test_an_interrupted_look_tells_what_it_saw_and_goes_on(folder, monkeypatch):
    whole = plain(doctor.examine(str(folder)))
    looks = []
    monkeypatch.setattr(image_files, "look", lambda path, *args: looks.append(path) or
                        look(path, *args))
    found = {finding.kind: finding for finding in doctor.examine(str(folder), None, stop_at(96))}
    message = found["interrupted"].message
    assert message == "96 of 311 files were examined; the same command examines the others"
    assert "311 of 2 classes" in found["counts"].message
    assert memory_file(folder).stat().st_size < 96 * 80 + 2000
    looked = len(looks)
    looks.clear()
    again = plain(doctor.examine(str(folder), None, stop_at(200)))
    assert "interrupted" in {kind for kind, *_ in again}
    looks.clear()
    assert plain(doctor.examine(str(folder))) == whole
    assert len(looks) <= 311 - 192 and looked < 311
    assert not memory_file(folder).exists()


def test_files_that_changed_after_an_interrupt_are_examined_again(folder):
    doctor.examine(str(folder), None, stop_at(160))
    mended, broken = folder / "a/damaged 0.jpg", folder / "a/000.png"
    content = encoded(picture(), "JPEG")
    put(mended, content)
    put(broken, b"\x89PNG\r\n\x1a\n")
    (folder / "b/001.png").unlink()
    found = plain(doctor.examine(str(folder)))
    assert found == plain(examine_files(list_class_folders(folder), classes="ab"))
    (truncated,) = [files for kind, _, _, files in found if kind == "truncated"]
    assert str(broken) in truncated and str(mended) not in truncated


def test_a_damaged_memory_is_forgotten(folder):
    whole = plain(doctor.examine(str(folder)))
    doctor.examine(str(folder), None, stop_at(96))
    memory_file(folder).write_bytes(memory_file(folder).read_bytes()[:99])
    assert plain(doctor.examine(str(folder))) == whole


def test_repeated_images_are_found_as_repeated_rows_are():
    """Two roads: arrays for images, a dict for sentences."""
    generator = np.random.default_rng(0)
    for n in range(200):
        count = int(generator.integers(1, 40))
        digests = np.array([b"%016d" % number for number in generator.integers(0, 12, count)])
        named = [None, "train", "test", "validation"][:1] if n % 3 == 0 else ["train", "test"]
        files = [(f"{i}", "abc"[generator.integers(3)], named[generator.integers(len(named))])
                 for i in range(count)]
        same = {}
        for key, file in zip(digests, files, strict=True):
            same.setdefault(key, []).append(file)
        indices = np.arange(count)
        numbers = [image_files._numbered(files, indices, field) for field in (1, 2)]
        assert plain(image_files._repeated(files, indices, digests, *numbers)) == plain(
            repeated(same, "image"))


def test_a_million_files_take_little_memory():
    assert image_files._ROW.itemsize <= 64  # bytes for each
    names = image_files.Names([("x/a.jpg", "x", None)] * 10, np.arange(4))
    assert names == ("x/a.jpg",) * 4 and names[1:] == ["x/a.jpg"] * 3 and hash(names)


@pytest.mark.slow
def test_the_command_ends_with_what_it_has_seen(tmp_path, cache):
    """Ctrl-C in a real process: the findings so far, the exit code of an interrupt, no traceback.
    """
    photo = encoded(picture((1500, 1500)), "PNG")
    for n in range(600):
        path = tmp_path / "set" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo)
    command = [sys.executable, "-m", "zoo", "doctor", str(tmp_path / "set")]
    script = ("import zoo.training.data.checks.image_files as checks\n"
              "plain = checks._look_at\n"
              "def told(*args):\n    print('looking', flush=True)\n    return plain(*args)\n"
              "checks._look_at = told\n"
              "import sys\nfrom zoo.__main__ import main\n"
              "sys.exit(main(sys.argv[1:]))")
    with subprocess.Popen([command[0], "-c", script, *command[3:]], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ}) as process:
        assert process.stdout.readline() == "looking\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "of 600 files were examined; the same command examines the others" in output
    assert "counts" in output and "Traceback" not in errors
    assert memory_file(tmp_path / "set").exists()
