"""How a network is trained: epochs of batches, schedules, averages, and full-batch trainers."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core, data
from .batches import Batches, are_batches
from .history import History
from .layers import Tuning
from .layers.dense import positive_int
from .optimizers import OPTIMIZERS
from .progress import Progress
from .run import Run, Samples
from .threads import as_count
from .validation import as_inputs, as_row, as_targets, can_mask, check_batches, target_limits
from .weights import (
    Classes,
    as_weights,
    check_weights,
    class_table,
    sums_of_batches,
    times_classes,
    warn_if_without_effect,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .callbacks import Callback, Hooks
    from .checkpoints import Saved
    from .loss import Loss
    from .metrics.measures import Measures
    from .network import Network
    from .stopping import Stop, Watch
    from .trainers.course import Course

Metric = str | Callable[..., float]
Metrics = Sequence[Metric] | Mapping[str, Metric]


class Training:
    """The part of `Network` that changes parameters."""

    n_out: int
    dtype: np.dtype
    loss: "Loss"
    layers: tuple[Any, ...]  # what one has is its class's
    theta: Any
    copy: "Callable[[], Network]"
    _engine: _core.Engine
    _training: Any
    _rng: "np.random.Generator"
    _optimizer: Any
    _memory: Any
    _epochs: int
    _averages: str | None
    _course: tuple[Any, Any] | None
    _last_rate: float
    _check_ready: Callable[[], None]
    _start_rule: Callable[[Any], None]
    _unknown_settings: Callable[[], int]
    _be_ready: Callable[[int, float, float, bool], None]

    # ---- training ----

    def fit(
        self, X: "data.Matrix | data.Batched", y: "data.Matrix | None" = None, *, epochs: int = 1,
        batch_size: int | str | None = None, shuffle: bool = True,
        validation_data: Sequence[Any] | None = None, verbose: bool | int | str = "auto",
        n_threads: int | None = None, sample_weight: "ArrayLike | None" = None,
        class_weight: "Mapping[int, float] | ArrayLike | None" = None, stop: "Stop | None" = None,
        callbacks: "Sequence[Callback] | None" = None, validation_split: float = 0.0,
        metrics: "Metrics | None" = None, train_metrics: "Metrics | None" = None,
        steps_per_epoch: int | None = None, missing: str | None = None,
    ) -> History:  # fmt: skip
        """Train, from the present parameters and optimizer state on.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
            Converted to the network's dtype where it differs; an array that is memory-mapped and a
            sparse one in CSR form only block by block. Or, without y, batches: an iterable of
            tuples ``(X, y)`` or ``(X, y, sample_weight)``, each for one update, or a function that
            returns one. It is gone through once in each epoch. A `Scaling` that has no numbers yet
            takes them from X, or from y.
        y : array_like, shape (n_rows, n_out), or (n_rows,)
            Targets. One column may come flat. For cross_entropy: integer labels (n_rows,), or
            rows that sum to 1.
        epochs : int, default 1
            Passes over all rows; with a full-batch trainer, iterations.
        batch_size : int or "full", optional
            Rows per update, by default 32; 1 is true online learning. The last batch of an epoch
            may be smaller. A full-batch trainer takes all rows.
        shuffle : bool, default True
            Whether each epoch has its own order of the rows.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch.
        verbose : {"auto", 0, 1, 2} or bool, default "auto"
            Progress on stderr. 1 or True: in a terminal or a notebook a line that is rewritten,
            elsewhere a line every 2 s. 2: a line for each epoch. 0 or False: nothing. "auto": as 1
            in a terminal or a notebook, otherwise nothing.
        n_threads : int, optional
            The most threads to use, 1 to 64; by default `get_num_threads`. Small steps use one in
            any case. The result has the same bits with any number.
        sample_weight : array_like, shape (n_rows,), optional
            Weights of the rows, at least 0. A batch's loss is ``sum w l / sum w``: weight 2 is the
            row twice in its batch, weight 0 none. A batch of weight 0 is left out: no update. In
            batches of one row weights therefore only say which rows are left out.
        class_weight : dict, array_like or "balanced", optional
            Weights of classes, which multiply those of their rows, in the validation data too: by
            class, such as ``{0: 1.0, 1: 5.0}`` (others have 1), or in order. "balanced":
            ``sum of weights / (number of classes * weight of the class)``, as scikit-learn. For
            labels or one-hot rows of cross_entropy, or a single output of two classes.
        stop : Stop, optional
            Conditions that end the training before the last epoch.
        callbacks : list of nncore.Callback, optional
            Called between epochs, in this order, such as ``[nncore.Monitor()]``; see
            `nncore.callbacks`. With a `callbacks.Checkpoint` training that was killed goes on.
        validation_split : float, default 0.0
            Instead of validation_data: a share of the rows that is held out, drawn by the network's
            own random numbers, of each class alike. ``history.validation_rows`` says which. The
            data are copied.
        metrics : list of str or callable, or dict of str to them, optional
            Of the validation data after each epoch, besides the loss: names, such as "f1" (see
            `nncore.metrics`), or functions ``(y_true, y_pred) -> float`` of the targets and what
            `predict` returns, both flat where there is one output. One with an argument
            ``sample_weight`` gets the weights where there are any.
        train_metrics : likewise, optional
            Of the training data; each epoch then costs one more `predict` of them.
        steps_per_epoch : int, optional
            Of batches: how many make an epoch. The next one goes on where it has ended.
        missing : "mask", optional
            Targets that are NaN are missing: the loss is the mean over those that are not, also in
            the validation data; without "mask" NaN is refused. Of losses that are computed target
            by target. Metrics other than the accuracy then need to be of one target.

        Returns
        -------
        History

        Raises
        ------
        FloatingPointError
            When a batch's loss is NaN or infinite; its update is not applied. Also when the very
            last update made parameters infinite.
        KeyboardInterrupt
            On Ctrl-C, within 0.1 s (or one shuffle of the rows, if they are millions); the
            network is as after the last whole step.

        Notes
        -----
        Other threads may predict meanwhile; training in two threads at once is an error.

        Examples
        --------
        >>> import nncore
        >>> X, y = nncore.datasets.load_digits()
        >>> net = nncore.Network(64, nncore.Dense(16, "relu"), nncore.Dense(10, "softmax"), seed=0)
        >>> history = net.fit(
        ...     X / 16, y, epochs=50, validation_split=0.2, metrics=["f1"], verbose=False,
        ...     callbacks=[nncore.callbacks.EarlyStopping(patience=5)])
        >>> list(history), history["val_f1"][-1] > 0.9
        (['loss', 'val_loss', 'val_accuracy', 'val_f1'], True)
        """
        epochs, n_threads = positive_int(epochs, "epochs"), as_count(n_threads)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise ValueError(f"shuffle must be True or False, got {shuffle!r}")
        hooks = _hooks(callbacks)
        saved = None if hooks is None else _saved(hooks)
        history, rng = History(), None
        validation: Samples | None = None
        batches: Batches | None = None
        how: dict[str, Any] = {"in_blocks": True, "missing": missing, "ready": False}
        if are_batches(X, y):
            batches = Batches(X, epochs, steps_per_epoch, batch_size, sample_weight)
            x, t, w = self._first(batches, validation_split, train_metrics, missing)
        else:  # here, since warnings name the line that called `fit`
            x, t, w = self._samples(X, y, sample_weight, **how)
            if steps_per_epoch is not None:
                raise ValueError("steps_per_epoch is for batches; of arrays an epoch is all rows")
        if validation_data is not None:
            validation = self._samples(*_as_validation_data(validation_data), "validation ", **how)
        if validation_split != 0.0:
            from .splitting import split

            history.validation_rows, (x, t, w), validation, rng = split(
                self, (x, t, w), validation_split, validation, saved
            )
        classes = class_table(class_weight, t if batches is None else None, w, self)
        size = None
        if batches is None:
            w = self._weights(w, classes, t)
            size = self._batch_size(batch_size, len(x))
            warn_if_without_effect(w, size)
        if validation is not None:
            V, v, w_v = validation
            validation = V, v, self._weights(w_v, classes, v, "validation ")
        self._check_monitor(validation is not None)
        if metrics is not None and validation is None:
            raise ValueError(
                "metrics are of the validation data: give validation_data or validation_split; "
                "train_metrics are of the training data"
            )
        measures = (
            self._measures(t, w, train_metrics),
            validation and self._measures(*validation[1:], metrics, self._always()),
        )
        with self._training:
            if batches is None:
                self._adapt(x, t)
            run = Run(
                self, (x, t, w), validation, measures,
                epochs=epochs, batch_size=size, shuffle=shuffle, n_threads=n_threads,
                watch=self._watch(stop, validation is not None), hooks=hooks, history=history,
                progress=Progress(epochs, verbose), saved=saved, rng=rng,
                batches=None if batches is None else (batches, classes, missing),
            )  # fmt: skip
            run.go()
        self._check_parameters()
        return history

    def _first(
        self, batches: Batches, validation_split: float, train_metrics: "Metrics | None",
        missing: str | None,
    ) -> Samples:  # fmt: skip
        """The first of batches, checked, after what cannot be done with batches."""
        self._refuse_parts(None)
        for name, value in (("validation_split", validation_split), ("metrics", train_metrics)):
            if value not in (None, 0.0):
                name = "train_metrics" if name == "metrics" else f"{name}; give validation_data"
                raise ValueError(f"there are no rows of batches to keep for {name}")
        X, y, w = batches.first()
        w = None if w is None or not np.any(w) else w  # such a batch is left out
        if not all(layer.ready for layer in self.layers if layer.scales):
            raise ValueError(
                "batches come one by one, so a Scaling cannot take its numbers from them: give "
                "them, by Scaling.of(...), or call net.layers[0].adapt(X) first"
            )
        return self._samples(X, y, w, "batch 1: ", True, missing, some=False)

    def _adapt(self, X: Any, y: Any) -> None:
        """Give a `Scaling` without numbers those of these data."""
        if self._engine.pending:
            from .layers.scaling import measure

            if isinstance(y, data.Observed) and self.layers[-1].scales:
                raise ValueError(
                    "a Scaling of targets that are partly missing needs numbers: "
                    "Scaling(mean=np.nanmean(y, 0), scale=np.nanstd(y, 0)).inverse()"
                )
            ends: Any = ((self.layers[0], X, False), (self.layers[-1], y, True))
            found = [
                (layer, measure(_blocks(values), layer.kind))
                for layer, values, last in ends
                if layer.scales and not layer.ready and layer.inverted == last
            ]
            for layer, numbers in found:
                layer._take(*numbers)
            self._check_ready()

    def _start_course(
        self, X: Any, y: Any, w: np.ndarray | None, n_threads: int, history: History
    ) -> "Course | None":
        """A full-batch trainer at work, or None for other optimizers."""
        if not self._is_full_batch:
            return None
        from .trainers.course import Course

        self._refuse_parts(X, y)
        self._refresh_optimizer()
        network: Any = self
        return Course(network, X, y, w, n_threads, history)

    def _refuse_parts(self, *of: object) -> None:
        """A full-batch trainer needs arrays."""
        if self._is_full_batch and not all(isinstance(what, np.ndarray) for what in of):
            what, fix = "no sparse, converted or batched rows", "give those"
            if any(isinstance(each, data.Observed) for each in of):
                what, fix = "no missing targets", "leave their rows out"
            raise ValueError(
                f"{type(self._optimizer).__name__} uses all rows at once: it takes arrays of "
                f"{self.dtype}, and {what}; {fix}, or use an optimizer for batches such as "
                '"adam"'
            )

    @property
    def _is_full_batch(self) -> bool:
        return bool(self._optimizer.full_batch)

    def _watch(self, stop: "Stop | None", validated: bool) -> "Watch | None":
        """What looks at the conditions of `stop`, or None."""
        if stop is None:
            return None
        from .stopping import Stop, Watch

        if not isinstance(stop, Stop):
            raise TypeError(f"stop must be a nncore.Stop, such as Stop(loss=1e-3), got {stop!r}")
        if stop.needs_validation is not None and not validated:
            raise ValueError(f"Stop({stop.needs_validation}=...) needs validation_data")
        if stop.needs_trainer is not None and not self._is_full_batch:
            raise ValueError(
                f'Stop({stop.needs_trainer}=...) is for full-batch trainers such as "lbfgs"; '
                f"{type(self._optimizer).__name__} has no such number"
            )
        return Watch(stop, self)

    def partial_fit(
        self, X: "data.Matrix", y: "data.Matrix", *, sample_weight: "ArrayLike | None" = None,
        n_threads: int | None = None, missing: str | None = None,
    ) -> float:  # fmt: skip
        """Do one update with all rows as one batch; the optimizer's state is kept.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        sample_weight : array_like, shape (n_rows,), optional
            As in `fit`.
        n_threads, missing : optional
            As in `fit`.

        Returns
        -------
        float
            The batch's mean loss before the update.

        Raises
        ------
        FloatingPointError
            As `fit` does.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1, init="zeros"), optimizer=nncore.SGD(0.5))
        >>> net.partial_fit([[0.0], [2.0]], [1.0, 1.0])
        1.0
        >>> net.theta
        array([1., 1.], dtype=float32)
        """
        x, t, w = self._samples(X, y, sample_weight, in_blocks=True, missing=missing)
        self._batch_size(len(x), len(x))
        n_threads = as_count(n_threads)
        with self._training:
            history = History()
            course = self._start_course(x, t, w, n_threads, history)
            if course is None:
                loss = self._epoch(x, t, w, len(x), False, n_threads, history, None)["loss"]
            else:
                loss = course.point.loss
                course.advance(1)
        self._check_parameters()
        return loss

    def _learn_one_any(self, x: "ArrayLike", y: "ArrayLike") -> float:
        """What `learn_one` does with what the engine cannot use as it is."""
        sample, targets = as_row(x, "x"), as_row(y, "y")
        masks = can_mask(self) and not self._is_full_batch
        if masks and targets.dtype.kind == "f" and np.isnan(targets).any():
            raise ValueError(
                "y contains NaN, and learn_one knows no missing targets: use "
                'partial_fit([x], [y], missing="mask")'
            )
        return self.partial_fit(sample, targets)

    def _epoch(
        self, X: Any, y: Any, w: np.ndarray | None, batch_size: int, shuffle: bool, n_threads: int,
        history: History, epoch: int | None, batch: int = 1,
    ) -> dict[str, float]:  # fmt: skip
        """One pass; the mean loss of its rows. `epoch` is its number, None in `partial_fit`."""
        engine, rows = self._engine, len(X)
        if epoch in (None, 1) or self._unknown_settings():
            self._refresh_optimizer()
        rates = self._rates(-(-rows // batch_size))
        order = _core.shuffled(rows, self._rng.bit_generator.random_raw()) if shuffle else None
        start = time.perf_counter()
        losses = data.train(engine, X, y, order, batch_size, n_threads, w, rates)
        history.seconds += time.perf_counter() - start
        sums = sums_of_batches(data.counts_of(y, w), order, batch_size, rows)
        n_steps = int(np.count_nonzero(sums[: len(losses)]))
        history.n_steps += n_steps
        if rates is not None and n_steps:
            self._last_rate = float(rates[n_steps - 1])
        if not np.isfinite(losses[-1]):
            self._refuse_loss(losses[-1], epoch, len(losses) - 1 + batch)
        return {"loss": float(losses @ sums / sums.sum())}

    def _refuse_loss(self, loss: float, epoch: int | None = None, batch: int = 1) -> None:
        """Raise for a loss that is not finite."""
        where = f" at epoch {epoch}, batch {batch}" if epoch else ""
        if not np.isfinite(self.theta).all():
            fix = f"The parameters are no longer finite: {_START_AGAIN}."
        elif batch == 1 and epoch in (1, None):  # no update of this call is to blame
            fix = (
                "Scale the inputs and targets. If training before made the parameters too "
                f"large, {_START_AGAIN}."
            )
        else:
            fix = "Try a smaller learning rate, or scale the inputs and targets."
        raise FloatingPointError(f"Loss became {loss:g}{where}; that update was not applied. {fix}")

    def _check_parameters(self) -> None:
        """An update can overflow where the loss before it did not."""
        if not np.isfinite(self.theta).all():
            raise FloatingPointError(
                "The last update made parameters infinite or NaN, and they stay so: "
                f"{_START_AGAIN}."
            )

    def _refresh_optimizer(self) -> None:
        """Attributes of the optimizer may have been changed since the last epoch."""
        settings = self._unknown_settings()  # of now: what is changed meanwhile is looked at again
        optimizer = self._optimizer
        optimizer.check()
        if not settings:
            return
        if self._is_full_batch:
            self._tune()
            return
        if optimizer.rule == self._engine.rule:
            self._engine.hyper = optimizer.hyper
        else:
            self._start_rule(optimizer)
        if self._averages != optimizer.average:  # another average, or none
            self._averages = optimizer.average
            self._engine.forget_average()
        self._engine.set_options(
            optimizer.weight_decay, optimizer.clip_norm or 0, optimizer.clip_value or 0,
            optimizer.ema or 0,
        )  # fmt: skip
        self._tune()
        if optimizer.schedule is None and type(optimizer) in OPTIMIZERS.values():
            self._be_ready(settings, *target_limits(self))

    def _tune(self) -> None:
        """Attributes of layers may have been changed, too."""
        tuning = [t for layer in self.layers for t in layer.tunings()]
        self._engine.set_tuning(None if all(t == _PLAIN for t in tuning) else tuning)

    def _tune_if_idle(self) -> None:
        if not self._training.locked():  # else an epoch goes on as it began
            self._tune()

    # ---- schedules and averages ----

    def _schedule_state(self) -> Any:
        """The state of the present schedule, which begins with its first use."""
        schedule = self._optimizer.schedule
        if self._course is None or self._course[0] != schedule:
            self._course = (copy.deepcopy(schedule), schedule.start())
        return self._course[1]

    def _rates(self, steps: int) -> np.ndarray | None:
        """The learning rates of the next steps, or None where they have none of their own."""
        schedule = self._optimizer.schedule
        if schedule is None:
            return None
        rates: np.ndarray = schedule.rates(
            self._schedule_state(), self._engine.n_updates, steps, self._epochs
        )
        if not np.isfinite(rates).all():
            raise ValueError(f"{schedule!r} gives a rate that is not finite")
        self._last_rate = float(rates[-1])
        return rates

    def _check_monitor(self, validated: bool) -> None:
        schedule = self._optimizer.schedule
        name = schedule and schedule.monitored()
        if not name or name == "loss":
            return
        if not validated:
            raise ValueError(f"the schedule monitors {name}: fit needs validation_data")
        if name == "val_accuracy" and self.loss.name not in _CLASSIFIERS:
            raise ValueError(f"the schedule monitors {name}, which {self.loss.name} does not have")

    def _end_epoch(self, history: History) -> None:
        """An epoch of `fit` is over: the schedule looks at the losses, an average is taken."""
        self._epochs += 1
        if self._optimizer.schedule is not None:
            history.append(lr=self._last_rate)
            values = {name: values[-1] for name, values in history.items()}
            self._optimizer.schedule.end_epoch(self._schedule_state(), values)
        if self._optimizer.swa and self._epochs >= self._optimizer.swa:
            engine = self._engine
            engine.keep_average()
            engine.averaged += 1
            average = engine.average
            average += (self.theta - average) / engine.averaged

    def averaged(self) -> "Network":
        """Return a copy of the network with the averaged parameters.

        Returns
        -------
        Network
            It predicts, is saved, and would go on training from there.

        Raises
        ------
        ValueError
            If no average is kept: that needs an optimizer with ``ema`` or ``swa``, and an update or
            the end of an epoch.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(0.1, ema=0.9), seed=0)
        >>> history = net.fit([[1.0], [2.0]], [3.0, 5.0], epochs=50, verbose=False)
        >>> net.averaged().predict([[3.0]]).shape
        (1, 1)
        """
        if self._engine.average is None or self._engine.averaged == 0:
            raise ValueError(
                "no average of the parameters is kept: give the optimizer ema=0.999, or swa=10 for "
                "the mean from epoch 10 on, and train"
            )
        average = self._engine.average.copy()  # a pending change of the rule drops it
        network = self.copy()
        network.theta = average
        return network

    def _settle_optimizer(self) -> None:
        """Let a changed rule count now, so that what is saved fits together."""
        self._optimizer.check()
        if self._has_new_rule:
            with self._training:
                self._refresh_optimizer()

    @property
    def _has_new_rule(self) -> bool:
        return not self._is_full_batch and self._optimizer.rule != self._engine.rule

    def _settle_rule(self) -> None:
        """Likewise, between the epochs of a fit, which holds the lock."""
        if self._has_new_rule:
            self._refresh_optimizer()

    def _evaluate(
        self, X: Any, y: Any, w: np.ndarray | None, n_threads: int, measures: Any
    ) -> dict[str, float]:
        self._tune_if_idle()
        scores = {"loss": data.loss(self._engine, X, y, n_threads, w)}
        return scores | (self._measure(X, measures, n_threads) if measures is not None else {})

    def _always(self) -> tuple[str, ...]:
        """What is measured of validation data besides the loss."""
        return ("accuracy",) if self.loss.name in _CLASSIFIERS else ()

    def _measures(
        self, y: Any, w: np.ndarray | None, metrics: "Metrics | None", always: tuple[str, ...] = ()
    ) -> Any:
        """What computes metrics for these targets, or None."""
        if metrics is None and not always:
            return None
        from .metrics import measures

        network: Any = self
        if isinstance(y, data.Observed):
            if y.shape[1] == 1:
                there = y.counts(None) > 0
                w = None if w is None else w[there]
                return _OfRows(
                    measures.Measures(network, metrics, y.values[there], w, always), there
                )
            if metrics:
                raise ValueError(
                    "metrics are of all targets of a row; where some of several are missing there "
                    "is the loss, and the accuracy of classes. Compute others from net.predict(X)"
                )
            return measures.Partly(network, y, w) if always else None
        return measures.Measures(network, metrics, y[:], w, always)

    def _measure(self, X: Any, measures: Any, n_threads: int) -> dict[str, float]:
        out = np.empty((len(X), self.n_out), self.dtype)
        data.predict(self._engine, X, out, n_threads)
        scores: dict[str, float] = measures(out)
        return scores

    def _samples(
        self, X: Any, y: Any, weights: "ArrayLike | None" = None, of: str = "",
        in_blocks: bool = False, missing: str | None = None, ready: bool = True,
        some: bool = True,
    ) -> Samples:  # fmt: skip
        X = as_inputs(X, self, f"{of}X", in_blocks=in_blocks, ready=ready)
        y = as_targets(
            y, len(X), self, f"{of}y", f"{of}X", in_blocks=in_blocks, missing=missing
        )  # fmt: skip
        w = as_weights(weights, len(X), f"{of}sample_weight", f"{of}X")
        if len(X) == 0:
            raise ValueError(f"{of}X has no rows; at least one is needed.")
        check_weights(w, f"{of}sample_weight")
        if some and missing is not None and not y.counts(w).any():
            raise ValueError(f"all targets in {of}y are missing: there is nothing left to learn.")
        # A step changes theta while it still reads X and y.
        X, y = (self._apart(a) for a in (X, y))
        return X, y, w

    def _apart(self, array: Any) -> Any:
        shared = isinstance(array, np.ndarray) and np.may_share_memory(array, self.theta)
        return array.copy() if shared else array

    def _weights(
        self, weights: np.ndarray | None, classes: Classes | None, y: Any, of: str = ""
    ) -> np.ndarray | None:
        weights = times_classes(weights, classes, y, self, f"{of}y")
        check_weights(weights, f"{of}sample_weight times class_weight")
        return weights

    def _batch_size(self, batch_size: Any, rows: int) -> int:
        if self._is_full_batch:
            if batch_size not in (None, "full", rows):
                raise ValueError(
                    f"{type(self._optimizer).__name__} uses all rows at once, got batch_size="
                    f'{batch_size!r}; leave it out, or use an optimizer for batches such as "adam"'
                )
            return rows
        if batch_size is None:
            batch_size = 32
        if isinstance(batch_size, str):
            if batch_size != "full":
                raise ValueError(f'batch_size must be an integer or "full", got {batch_size!r}')
            batch_size = rows
        size = min(positive_int(batch_size, "batch_size"), rows)
        check_batches(self, rows, size)
        return size


class _OfRows:
    """The metrics of those rows whose only target is not missing."""

    def __init__(self, measures: "Measures", rows: np.ndarray) -> None:
        self.names, self._measures, self._rows = measures.names, measures, rows

    def __call__(self, out: np.ndarray) -> Any:
        return self._measures(out[self._rows])


def _hooks(callbacks: "Sequence[Callback] | None") -> "Hooks | None":
    """What calls the callbacks, or None where there are none."""
    if callbacks is None:
        return None
    from .callbacks import Hooks

    return Hooks(callbacks)


def _saved(hooks: "Hooks") -> "Saved | None":
    """The checkpoint to go on from, or None."""
    found = hooks.checkpoint and hooks.checkpoint.newest()
    if not found:
        return None
    from .checkpoints import Saved

    return Saved(*found)


def _blocks(values: Any) -> Iterable[np.ndarray]:
    """An array, or what must not be converted as a whole, for `Scaling`."""
    if isinstance(values, data.Observed):
        values = values.values
    return (values[rows] for rows in data.slices(values)) if values.ndim == 2 else [values]


def _as_validation_data(data: Sequence[Any]) -> tuple[Any, Any, Any]:
    """X, y, and weights or None."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError("validation_data must be a tuple (X, y) or (X, y, sample_weight)")
    X, y, weights = (*data, None)[:3]
    return X, y, weights


# Losses of classes: those of two by the sign of the score, or the half of its sigmoid.
_CLASSIFIERS = ("cross_entropy", "binary_cross_entropy", "focal", "hinge", "squared_hinge")

_PLAIN = Tuning()


# What is left to do with parameters that are lost.
_START_AGAIN = (
    "make a new network, or go back to a copy made before, and use a smaller learning rate or "
    "scale the inputs and targets"
)
