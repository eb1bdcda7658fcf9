"""Run: one call of `Network.fit`, from its checked data to the end."""

from typing import Any

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batches import Batches
    from .checkpoints import Saved
    from .history import History
    from .network import Network
    from .progress import Progress
    from .stopping import Watch
    from .trainers.course import Course
    from .weights import Classes

Samples = tuple[Any, Any, np.ndarray | None]


class Run:
    """The epochs of one call of `Network.fit`, and what is done between them.

    Attributes
    ----------
    data : tuple
        X, y, and the weights of the rows or None, checked.
    validation : tuple or None
        Likewise.
    measures : tuple
        The metrics of the training and of the validation data, or None.
    saved : Saved or None
        A checkpoint to go on from.
    batches : tuple or None
        `Batches`, the weights of classes, and whether targets are missing; `data` is the first one.
    """

    def __init__(
        self, network: Any, data: Samples, validation: Samples | None,
        measures: tuple[Any, Any], *, epochs: int,
        batch_size: Any, shuffle: bool, n_threads: int, watch: "Watch | None",
        hooks: Any, history: "History", progress: "Progress", saved: "Saved | None",
        rng: "np.random.Generator | None",
        batches: "tuple[Batches, Classes | None, str | None] | None" = None,
    ) -> None:  # fmt: skip
        self.network: Network = network
        self.data, self.validation = data, validation
        self.measures, self.epochs, self.shuffle = measures, epochs, shuffle
        self.watch, self.hooks, self.history, self.progress = watch, hooks, history, progress
        self._batches = batches
        steps = batches[0].steps if batches else -(-len(data[0]) // batch_size)
        self.params: dict[str, Any] = {"epochs": epochs, "steps": steps, "batch_size": batch_size}
        self._n_threads, self._saved, self._rng = n_threads, saved, rng
        self.given: dict[str, Any] | None = None

    @property
    def done(self) -> int:
        """How many epochs are over."""
        return len(self.history.get("loss", ()))

    def is_over(self, epoch: int) -> bool:
        """Whether training ends after this epoch, counted from 1."""
        return epoch == self.epochs or self.history.stop_reason != "epochs"

    def describe(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return what a checkpoint of the present state holds: arrays and texts by name."""
        from . import checkpoints

        return checkpoints.describe(self)

    def go(self) -> None:
        """Do the epochs."""
        hooks = self.hooks
        try:
            if self._rng is not None:  # which has drawn the rows of the validation data
                self.network._rng = self._rng
            first = self._begin() if hooks is not None else 0
            course = self.network._start_course(*self.data, self._n_threads, self.history)
            if first and course is not None:
                course.go_on(self.history)
            for epoch in range(first + 1, self.epochs + 1):
                if not self._epoch(epoch, course):
                    break
                if self.history.stop_reason != "epochs":
                    break
            if self.watch is not None:
                self.watch.restore()
            if hooks is not None:
                if not hooks.end_on_nan:
                    self.network._check_parameters()
                hooks.end()
        finally:
            self.progress.close(self.history)
            if hooks is not None:
                hooks.close()

    def _begin(self) -> int:
        """Tell the callbacks; return how many epochs are done already."""
        if self.hooks.checkpoint is not None:
            from . import checkpoints

            self.given = checkpoints.given(self)
        self.hooks.begin(self)
        if self._saved is None:
            return 0
        done = self._saved.restore(self)
        if self._batches:
            self._batches[0].skip(done)
        self.progress.begin(done)
        if self.progress.shown:
            self.progress.say(f"going on after epoch {done} of {self.hooks.checkpoint.folder}")
        return self.epochs if self.history.stop_reason != "epochs" else done

    def _epoch(self, epoch: int, course: "Course | None") -> bool:
        """Do one epoch; return whether there was one: not where a loss is NaN that may be."""
        network, history, hooks = self.network, self.history, self.hooks
        if hooks is not None:
            hooks.begin_epoch(epoch - 1)
        try:
            values = self._train(epoch, course)
        except FloatingPointError as error:
            if hooks is None or not hooks.end_on_nan:
                raise
            history.stop_reason, history.error = "TerminateOnNaN", str(error)
            return False
        of_training, of_validation = self.measures
        if of_training is not None:
            values |= network._measure(self.data[0], of_training, self._n_threads)
        if self.validation is not None:
            scores = network._evaluate(*self.validation, self._n_threads, of_validation)
            values |= {f"val_{name}": value for name, value in scores.items()}
        history.append(**values)
        network._end_epoch(history)
        if self.watch is not None and history.stop_reason == "epochs":
            self.watch.is_over(history)
        if hooks is not None:
            hooks.end_epoch(epoch - 1)
        self.progress.update(epoch, history)
        return True

    def _train(self, epoch: int, course: "Course | None") -> dict[str, float]:
        if self._batches:
            source, classes, missing = self._batches
            return source.train(
                self.network, classes, missing, self._n_threads, self.history, epoch
            )
        if course is None:
            return self.network._epoch(
                *self.data, self.params["batch_size"], self.shuffle, self._n_threads, self.history,
                epoch,
            )  # fmt: skip
        if self.hooks is not None:
            course.follow()
        return course.advance(epoch)
