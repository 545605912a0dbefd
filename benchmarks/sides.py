"""Processes that take turns: each side of a comparison computes alone, while the others wait.

What disturbs the machine then disturbs all sides alike, and no side sees another's threads or
libraries.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


class Side:
    """A process `python SCRIPT --side NAME` that answers JSON lines with JSON lines."""

    def __init__(self, script, name, **environment):
        self.process = subprocess.Popen(
            [sys.executable, script, "--side", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **environment},
        )

    def ask(self, **question):
        """Return the answer to `question`, a dict; {"missing": why} if the side cannot answer."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            raise SystemExit(f"The process {self.process.args[1:]} died.")
        return json.loads(said)

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def sides(script, names, **environments):
    """Yield {name: Side} of `names`; `environments` are more variables of a side's own."""
    started = {name: Side(script, name, **environments.get(name, {})) for name in names}
    try:
        yield started
    finally:
        for side in started.values():
            side.close()


def answer(function):
    """In a side's process: answer each question, a dict, with what `function` returns for it."""
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)  # progress bars are not an answer
    for line in sys.stdin:
        answers.write(json.dumps(function(**json.loads(line))) + "\n")
        answers.flush()


def run(function, main):
    """Be the side that the command line names, which answers with `function`; else run `main`."""
    if "--side" in sys.argv:
        side = sys.argv[-1]
        answer(lambda **question: function(side, **question))
    else:
        main()


def take_turns(started, rounds, question):
    """Ask all sides `rounds` times in turn, every second time in the opposite order.

    `question(name)` is a dict for each.

    Returns:
        {name: the median of the list of seconds answered in each round}, and {name: why} of the
        sides that cannot answer.
    """
    times, missing = {name: [] for name in started}, {}
    for number in range(rounds):
        for name in list(times)[:: -1 if number % 2 else 1]:
            answered = started[name].ask(**question(name))
            if "missing" in answered:
                missing[name] = answered["missing"]
                del times[name]
            else:
                times[name].append(median(answered["seconds"]))
    return times, missing


def spread(values, digits=3):
    """Return the median of `values` and the quartiles that half of them lie between."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return {
        name: round(value, digits)
        for name, value in (("median", middle), ("lower quartile", low), ("upper quartile", high))
    }


def ratio(ours, theirs):
    """The spread of our time over theirs, round by round."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


def in_words(found, unit=""):
    """A spread as it is printed."""
    return f"{found['median']:g}{unit} ({found['lower quartile']:g} to {found['upper quartile']:g})"


def compare(started, what, rounds, question, new, old):
    """Have the sides take turns; return their medians and the ratio of `new` to `old`."""
    times, _ = take_turns(started, rounds, lambda name: question)
    over = ratio(times[new], times[old])
    print(f"{what}: {new} takes {in_words(over)} times as long as {old}", flush=True)
    milliseconds = {
        name: spread([1e3 * second for second in seconds]) for name, seconds in times.items()
    }
    return {"ms": milliseconds, f"{new} over {old}": over}


def keep(script, report):
    """Write `report` beside `script` as JSON, with the machine and the commit first."""
    from zoo.training.engine.manifest import commit, machine

    Path(script).with_suffix(".json").write_text(
        json.dumps({"machine": machine(), "commit": commit(), **report}, indent=2) + "\n"
    )
