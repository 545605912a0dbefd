"""How long until the command answers?

`python benchmarks/startup.py` runs in turn `zoo --help`, `zoo list` and `zoo info lenet5`, and for
comparison Python alone and Python with an import of Keras. Medians of the seconds, and the share
over Python alone, go to benchmarks/startup.json.
"""

import os
import subprocess
import sys
import time

import sides
from sides import in_words, ratio, spread

ROUNDS = 7
COMMANDS = {
    "python": ("-c", ""),
    "zoo --help": ("-m", "zoo", "--help"),
    "zoo list": ("-m", "zoo", "list"),
    "zoo info lenet5": ("-m", "zoo", "info", "lenet5"),
    "import keras": ("-c", "import keras"),
}


def seconds(arguments):
    """Run Python with `arguments`; return how long it took."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=sides.HERE.parent,
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return time.perf_counter() - began


def main():
    """Measure, print and keep the results."""
    times = {name: [] for name in COMMANDS}
    for number in range(ROUNDS + 1):
        for name, arguments in COMMANDS.items():
            took = seconds(arguments)
            if number:  # the first round fills the disk's cache
                times[name].append(took)
    report = {
        "rounds": ROUNDS,
        "seconds": {name: spread(taken) for name, taken in times.items()},
        "over python": {
            name: ratio(taken, times["python"]) for name, taken in times.items() if name != "python"
        },
    }
    for name, found in report["seconds"].items():
        print(f"{name}: {in_words(found, ' s')}")
    sides.keep(__file__, report)


if __name__ == "__main__":
    main()
