"""Progress on the screen: a live bar on a terminal, plain lines elsewhere."""
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.training.engine.callbacks import Logs
from zoo.training.engine.checkpoint import TrainingState

_SECONDS = 30  # between two plain lines inside an epoch


class Report(keras.callbacks.Callback):
    """Shows the scores of a training after each epoch and, less often, inside one.

    Args:
        epochs: the number of epochs of the whole training.
        state: the state that counts the steps.
        quiet: show nothing.
    """

    def __init__(self, epochs: int, state: TrainingState, quiet: bool = False):
        super().__init__()
        self.epochs, self.state = epochs, state
        self.console = Console(soft_wrap=True, highlight=False, quiet=quiet)
        self.bar: Progress | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.console.is_terminal and not self.console.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                       TimeRemainingColumn(), TextColumn("{task.fields[scores]}"))
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the live bar, if there is one."""
        if self.bar:
            self.bar.stop()
        self.bar = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._began = self._printed = time.monotonic()
        if self.bar:
            steps = self.state.steps_per_epoch
            self._task = self.bar.add_task(f"epoch {epoch + 1}/{self.epochs}", total=steps,
                                           completed=self.state.step % steps, scores="")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.bar:
            self.bar.update(self._task, advance=1, scores=_scores(logs))
        elif time.monotonic() - self._printed > _SECONDS:
            self._printed = time.monotonic()
            steps = self.state.steps_per_epoch
            step = (self.state.step - 1) % steps + 1
            self.console.print(f"  step {step}/{steps}  {_scores(logs)}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.bar:
            self.bar.remove_task(self._task)
        width = len(str(self.epochs))
        self.console.print(f"epoch {epoch + 1:{width}}/{self.epochs}  {_scores(logs)}  "
                           f"{time.monotonic() - self._began:.1f} s")


def _scores(logs):
    return "  ".join(f"{name.replace('_', ' ')} {float(value):.4f}"
                     for name, value in (logs or {}).items())
