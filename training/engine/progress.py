"""What a person sees of a training: a live bar on a terminal, plain lines everywhere else."""
import contextlib
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS = 30  # between two plain lines inside an epoch


class Report(keras.callbacks.Callback):
    """Reports a training as it goes.

    Args:
        epochs: in all.
        steps_per_epoch: batches in an epoch.
        checkpoint: the `zoo.training.engine.checkpoint.Checkpoint` that counts the steps.
        quiet: say nothing.
    """

    def __init__(self, epochs, steps_per_epoch, checkpoint, quiet=False):
        super().__init__()
        self.epochs, self.steps_per_epoch, self.checkpoint = epochs, steps_per_epoch, checkpoint
        self.console = Console(soft_wrap=True, highlight=False, quiet=quiet)
        self.bar = None

    def on_train_begin(self, logs=None):
        if self.console.is_terminal and not self.console.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                       TextColumn("{task.fields[scores]}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Take the live bar off the screen; nothing happens if there is none."""
        if self.bar:
            self.bar.stop()
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        self.began = self.told = time.monotonic()
        if self.bar:
            self.task = self.bar.add_task(f"epoch {epoch + 1}/{self.epochs}", total=self.steps_per_epoch, scores="",
                                          completed=self.checkpoint.step % self.steps_per_epoch)

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            self.bar.update(self.task, advance=1, scores=_scores(logs))
        elif time.monotonic() - self.told > _SECONDS:
            self.told = time.monotonic()
            step = (self.checkpoint.step - 1) % self.steps_per_epoch + 1
            self.console.print(f"  step {step}/{self.steps_per_epoch}  {_scores(logs)}")

    def on_epoch_end(self, epoch, logs=None):
        if self.bar:
            self.bar.remove_task(self.task)
        width = len(str(self.epochs))
        self.console.print(f"epoch {epoch + 1:{width}}/{self.epochs}  {_scores(logs)}  "
                           f"{time.monotonic() - self.began:.1f} s")


def _scores(logs):
    return "  ".join(f"{name.replace('_', ' ')} {float(value):.4f}" for name, value in (logs or {}).items())


@contextlib.contextmanager
def counter(what, quiet=False):
    """Yield a function of (done, in all) that shows a bar on a terminal, and a line every half minute elsewhere; on stderr."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    told = time.monotonic()
    with Progress(BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn(), console=console, transient=True,
                  disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what)

        def count(done, whole):
            nonlocal told
            bar.update(task, completed=done, total=whole)
            if not console.is_terminal and time.monotonic() - told > _SECONDS:
                told = time.monotonic()
                console.print(f"  {done:,} of {whole:,} {what}")
        yield count
