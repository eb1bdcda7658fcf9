"""Network: what users hold. It checks, lowers its layers once, and drives an engine."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping

import numpy as np

from . import _core, names  # files and the NumPy twin are imported where they are used
from .gradients import Derivatives
from .initializer import as_initializer
from .layers import Layer, Tuning
from .layers.dense import positive_int
from .loss import TWO_CLASSES, choose_loss
from .optimizers import as_optimizer
from .progress import Progress
from .threads import as_count, use_default
from .validation import (
    as_inputs,
    as_out,
    as_parameters,
    as_targets,
    check_batches,
    check_linear,
)
from .weights import (
    as_weights,
    check_weights,
    class_table,
    sums_of_batches,
    times_classes,
    warn_if_without_effect,
)


class History(Mapping):
    """What `Network.fit` recorded: lists with one value per epoch, by name.

    ``history["loss"]`` is the mean of the losses of the epoch's batches, each before its update,
    weighted by their rows, or by the sums of their rows' weights; with validation data there is
    ``"val_loss"`` too, and for classes ``"val_accuracy"``. Where the learning rate has a schedule,
    ``"lr"`` is that of the epoch's last update. Penalties of layers are part of all losses.

    Attributes
    ----------
    seconds : float
        Time spent in training steps, without validation and progress.
    n_steps : int
        Updates done.
    """

    def __init__(self):
        self._values = {}
        self.seconds = 0.0
        self.n_steps = 0

    def __getitem__(self, name):
        return self._values[name]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __repr__(self):
        epochs = len(self._values.get("loss", ()))
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.items())
        return f"History({epochs} epochs; {last})" if epochs else "History(0 epochs)"

    def append(self, **values):
        """Add one epoch's values."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)


class Network(Derivatives, _core.Predictor):
    """A feed-forward network that trains in C.

    Parameters
    ----------
    n_in : int
        Number of input features.
    *layers : Layer
        The layers in order: `Dense`, `PReLU`, `Dropout`, `GaussianNoise`, `BatchNorm`,
        `LayerNorm`, `Residual`, `Embedding`.
    loss : str or Loss, optional
        A mean over all elements: "mse", "mae", "huber", "smooth_l1", "log_cosh", "quantile",
        "hinge" and "squared_hinge" (targets -1 and 1), "poisson" (the output is the logarithm of
        the rate), "gaussian_nll" (the outputs are n means and then n logarithms of variances);
        of a "sigmoid" output "binary_cross_entropy" and "focal" (targets 0 and 1). A sum over the
        outputs, mean over rows: "half_mse"; of a "softmax" or "log_softmax" output
        "cross_entropy" and "kl_divergence". Or a `Loss` with parameters, such as
        ``nncore.Loss("huber", delta=0.5)``, or the name of one of `register_loss`. By default what
        the last activation asks for: cross_entropy after softmax and log_softmax,
        binary_cross_entropy after sigmoid, otherwise mse.
    optimizer : str or Optimizer, default "adam"
        "sgd", "momentum", "nesterov", "adam", "adamw", "amsgrad", "adagrad", "adadelta",
        "rmsprop", "adamax", "nadam", "radam", "lion", or an object such as ``nncore.SGD(0.1)``.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of all arithmetic.
    seed : int, optional
        Of the starting weights, the shuffling and what layers draw in training. The same seed
        gives the same bits; without one each network differs.
    backend : str, default "auto"
        What runs it: "auto" is the C engine with the best instruction set of this machine (or
        that of ``NNCORE_ISA``), "baseline", "avx2", "avx512" or "neon" the C engine with that one,
        "reference" pure NumPy.

    Attributes
    ----------
    layers : tuple of Layer
        With their parameters: ``net.layers[0].W``, ``net.layers[0].b``.
    n_in, n_out, n_params : int
        Numbers of inputs, outputs and parameters.
    loss : Loss
        With default parameters it is equal to its name.
    dtype : numpy.dtype
        Of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import nncore
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = nncore.Network(
    ...     2, nncore.Dense(8, "tanh"), nncore.Dense(1, "sigmoid"),
    ...     optimizer=nncore.Adam(0.1), seed=0)
    >>> history = net.fit(X, y, epochs=200, batch_size=4, verbose=False)
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.], dtype=float32)
    """

    def __init__(
        self, n_in, *layers, loss=None, optimizer="adam", dtype="float32", seed=None,
        backend="auto",
    ):  # fmt: skip
        if isinstance(n_in, Layer):
            raise TypeError(
                "the first argument of Network is the number of inputs: "
                f"Network(n_in, {n_in!r}, ...), got a layer"
            )
        check_layers(layers)
        check_linear(layers)
        self._build(n_in, layers, loss, optimizer, dtype, seed, backend)

    def _build(self, n_in, layers, loss, optimizer, dtype, seed, backend):
        """Make the network of these arguments; files and copies come in here, unwarned."""
        self.n_in = positive_int(n_in, "n_in of Network")
        self.dtype = _as_dtype(dtype)
        self._rng = _as_rng(seed)
        self._training = _core.Exclusive()  # held while parameters or optimizer change
        self._backend = check_backend(backend)
        steps, places = [], []
        offset, kept, width = 0, 0, self.n_in
        for layer in layers:
            steps += layer.lower(width, offset)
            places.append((layer, width, offset, kept))
            offset += layer.n_params(width)
            kept += layer.n_running(width)
            width = layer.n_outputs(width)
        if offset == 0:
            raise ValueError("these layers have no parameters to train: add a nncore.Dense")
        self.n_out, self.n_params = width, offset
        self.loss = choose_loss(loss, layers[-1], width)
        self._engine = _make_engine(backend, steps, offset, self.loss, self.dtype)
        theta, running = self._engine.theta, self._engine.running
        self.layers = tuple(
            layer.bind(n, theta[at : at + layer.n_params(n)], running[to : to + layer.n_running(n)])
            for layer, n, at, to in places
        )
        if self._engine.draws:
            self._engine.draws = (_seed_of_draws(self._rng), 0, 0)
        for layer in self.layers:
            layer.initialize(self._rng)
        self.optimizer = optimizer
        self._tune()

    def __setattr__(self, name, value):
        if name in _FIXED and name in self.__dict__:
            raise AttributeError(f"{name} is fixed when a Network is made; make a new one")
        super().__setattr__(name, value)

    def _engine_for(self, steps, n_params):
        """Return an engine like this network's own for other steps."""
        return _make_engine(self._backend, steps, n_params, "mse", self.dtype)

    # ---- parameters ----

    @property
    def theta(self):
        """All parameters, flat: a writable view of shape (n_params,). Assigning copies into it."""
        return self._engine.theta

    @theta.setter
    def theta(self, values):
        values = as_parameters(values, "theta", self.dtype)
        if values.shape != (self.n_params,):
            raise ValueError(f"theta has shape ({self.n_params},), got {values.shape}")
        self._engine.theta[...] = values

    @property
    def optimizer(self):
        """The optimizer. Assigning one starts it afresh: its state is zero."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        optimizer = as_optimizer(optimizer)
        with self._training:
            self._start_rule(optimizer)
            self._optimizer = optimizer

    def _start_rule(self, optimizer):
        self._engine.set_optimizer(optimizer.rule, optimizer.hyper)
        self._averages = _kind_of_average(optimizer)
        self._epochs = 0  # done by `fit` since then
        self._course = None  # a schedule that was followed, and its state

    @property
    def backend(self):
        """What runs this network: an instruction set of the C engine, or "reference"."""
        return self._engine.isa

    def lsuv(self, X, *, init="orthogonal"):
        """Start again, so that each layer's ``x W`` has the variance 1 for the rows of X.

        Layer-sequential unit variance (Mishkin and Matas 2016): from the first `Dense` layer to the
        last, W is drawn orthonormal, the biases are zero, and W is divided by the standard
        deviation, over all rows and units, of ``x W`` for the x that the layers before it give.
        `Dense` layers in a `Residual` are started too; other layers stay as they are. The optimizer
        starts afresh.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
            A batch of inputs, scaled as they will be in training; some hundred rows are enough.
        init : str, nncore.Initializer or None, default "orthogonal"
            What is scaled; None: the weights that are there.

        Returns
        -------
        list of float
            The variance of ``x W`` before W was scaled, for each `Dense` layer.

        Raises
        ------
        ValueError
            If a layer gives the same number for all rows and units, or one too large; the network
            is then as before.

        Examples
        --------
        >>> import nncore
        >>> X, y = nncore.datasets.load_digits()
        >>> net = nncore.Network(
        ...     64, nncore.Dense(50, "relu"), nncore.Dense(10, "softmax"), seed=0)
        >>> before = net.lsuv(X[:200] / 16)
        >>> z = X[:200] / 16 @ net.layers[0].W
        >>> round(float(z.var()), 3)
        1.0
        """
        from . import lsuv

        init = init if init is None else as_initializer(init)
        X = as_inputs(X, self)
        if len(X) == 0:
            raise ValueError("X has no rows; at least one is needed.")
        with self._training:
            variances = lsuv.start(self, X, init)
        self.optimizer = self._optimizer
        return variances

    # ---- use ----

    def _predict_any(self, X, out, n_threads=None):
        """What `predict` does with arguments that the engine cannot use as they are."""
        X = as_inputs(X, self, finite=False)
        result = out
        if out is not None:
            as_out(out, len(X), self)
        if out is None or np.may_share_memory(X, out) or not _core.is_matrix(out, write=True):
            result = np.empty((len(X), self.n_out), self.dtype)
        self._engine.predict(X, result, as_count(n_threads), sample=True)
        if out is None:
            return result
        if result is not out:
            out[...] = result
        return out

    def evaluate(self, X, y, *, sample_weight=None, class_weight=None, n_threads=None):
        """Return the mean loss, with the penalties of layers, and for classes the accuracy.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        sample_weight, class_weight : optional
            As in `fit`, of these rows; accuracy is weighted, too.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        dict of str to float
            "loss", and with classes "accuracy": with cross_entropy, binary_cross_entropy, focal,
            hinge and squared_hinge.
        """
        X, y, w = self._samples(X, y, sample_weight)
        w = self._weights(w, class_table(class_weight, y, w, self), y)
        return self._evaluate(X, y, w, as_count(n_threads))

    # ---- training ----

    def fit(
        self, X, y, *, epochs=1, batch_size=32, shuffle=True, validation_data=None, verbose="auto",
        n_threads=None, sample_weight=None, class_weight=None,
    ):  # fmt: skip
        """Train, from the present parameters and optimizer state on.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
            Converted to the network's dtype where it differs.
        y : array_like, shape (n_rows, n_out), or (n_rows,)
            Targets. One column may come flat. For cross_entropy: integer labels (n_rows,), or
            rows that sum to 1.
        epochs : int, default 1
            Passes over all rows.
        batch_size : int or "full", default 32
            Rows per update; 1 is true online learning. The last batch of an epoch may be smaller.
        shuffle : bool, default True
            Whether each epoch has its own order of the rows.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch.
        verbose : bool or "auto", default "auto"
            A progress line on stderr; "auto" shows it in a terminal only.
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
        """
        X, y, w = self._samples(X, y, sample_weight)
        classes = class_table(class_weight, y, w, self)
        w = self._weights(w, classes, y)
        epochs = positive_int(epochs, "epochs")
        if not isinstance(shuffle, (bool, np.bool_)):
            raise ValueError(f"shuffle must be True or False, got {shuffle!r}")
        batch_size = self._batch_size(batch_size, len(X))
        warn_if_without_effect(w, batch_size)
        n_threads = as_count(n_threads)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
                raise ValueError("validation_data must be a tuple (X, y) or (X, y, sample_weight)")
            data = (*validation_data, None)[:3]
            V, v, w_v = self._samples(*data, "validation ")
            validation = V, v, self._weights(w_v, classes, v, "validation ")
        self._check_monitor(validation is not None)
        history, progress = History(), Progress(epochs, verbose)
        with self._training:
            try:
                for epoch in range(1, epochs + 1):
                    loss = self._epoch(X, y, w, batch_size, shuffle, n_threads, epoch, history)
                    scores = self._evaluate(*validation, n_threads) if validation else {}
                    history.append(
                        loss=loss, **{f"val_{name}": value for name, value in scores.items()}
                    )
                    self._end_epoch(history)
                    progress.update(epoch, history)
            finally:
                progress.close()
        self._check_parameters()
        return history

    def partial_fit(self, X, y, *, sample_weight=None, n_threads=None):
        """Do one update with all rows as one batch; the optimizer's state is kept.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        sample_weight : array_like, shape (n_rows,), optional
            As in `fit`.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        float
            The batch's mean loss before the update.

        Raises
        ------
        FloatingPointError
            As `fit` does.
        """
        X, y, w = self._samples(X, y, sample_weight)
        self._batch_size(len(X), len(X))
        n_threads = as_count(n_threads)
        with self._training:
            loss = self._epoch(X, y, w, len(X), False, n_threads, None, History())
        self._check_parameters()
        return loss

    def _epoch(self, X, y, w, batch_size, shuffle, n_threads, epoch, history):
        """One pass; the mean loss of its rows. `epoch` is its number, None in `partial_fit`."""
        engine, rows = self._engine, len(X)
        self._refresh_optimizer()
        rates = self._rates(-(-rows // batch_size))
        order = self._rng.permutation(rows) if shuffle else None
        start = time.perf_counter()
        losses = engine.train(X, y, order, batch_size, n_threads, w, rates)
        history.seconds += time.perf_counter() - start
        sums = sums_of_batches(w, order, batch_size, rows)
        done = sums[: len(losses)]
        n_steps = len(losses) if w is None else int(np.count_nonzero(done))
        history.n_steps += n_steps
        if rates is not None and n_steps:
            self._last_rate = float(rates[n_steps - 1])
        if not np.isfinite(losses[-1]):
            batch = len(losses)
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
            raise FloatingPointError(
                f"Loss became {losses[-1]:g}{where}; that update was not applied. {fix}"
            )
        return float(losses @ sums / sums.sum())

    def _check_parameters(self):
        """An update can overflow where the loss before it did not."""
        if not np.isfinite(self.theta).all():
            raise FloatingPointError(
                "The last update made parameters infinite or NaN, and they stay so: "
                f"{_START_AGAIN}."
            )

    def _refresh_optimizer(self):
        """Attributes of the optimizer may have been changed since the last epoch."""
        optimizer = self._optimizer
        optimizer.check()
        if optimizer.rule == self._engine.rule:
            self._engine.hyper = optimizer.hyper
        else:
            self._start_rule(optimizer)
        if self._averages != _kind_of_average(optimizer):  # another average, or none
            self._averages = _kind_of_average(optimizer)
            self._engine.forget_average()
        self._engine.set_options(
            optimizer.weight_decay, optimizer.clip_norm or 0, optimizer.clip_value or 0,
            optimizer.ema or 0,
        )  # fmt: skip
        self._tune()

    def _tune(self):
        """Attributes of layers may have been changed, too."""
        tuning = [t for layer in self.layers for t in layer.tunings()]
        self._engine.set_tuning(None if all(t == _PLAIN for t in tuning) else tuning)

    def _tune_if_idle(self):
        if not self._training.locked():  # else an epoch goes on as it began
            self._tune()

    # ---- schedules and averages ----

    def _schedule_state(self):
        """The state of the present schedule, which begins with its first use."""
        schedule = self._optimizer.schedule
        if self._course is None or self._course[0] != schedule:
            self._course = (copy.deepcopy(schedule), schedule.start())
        return self._course[1]

    def _rates(self, steps):
        """The learning rates of the next steps, or None where they have none of their own."""
        schedule = self._optimizer.schedule
        if schedule is None:
            return None
        rates = schedule.rates(self._schedule_state(), self._engine.n_updates, steps, self._epochs)
        if not np.isfinite(rates).all():
            raise ValueError(f"{schedule!r} gives a rate that is not finite")
        self._last_rate = float(rates[-1])
        return rates

    def _check_monitor(self, validated):
        schedule = self._optimizer.schedule
        name = schedule and schedule.monitored()
        if not name or name == "loss":
            return
        if not validated:
            raise ValueError(f"the schedule monitors {name}: fit needs validation_data")
        if name == "val_accuracy" and self.loss.name not in _CLASSIFIERS:
            raise ValueError(f"the schedule monitors {name}, which {self.loss.name} does not have")

    def _end_epoch(self, history):
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

    def averaged(self):
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

    def _settle_optimizer(self):
        """Let a changed rule count now, so that what is saved fits together."""
        self._optimizer.check()
        if self._optimizer.rule != self._engine.rule:
            with self._training:
                self._refresh_optimizer()

    def _evaluate(self, X, y, w, n_threads):
        self._tune_if_idle()
        scores = {"loss": self._engine.loss(X, y, n_threads, weights=w)}
        if self.loss.name in _CLASSIFIERS:
            out = np.empty((len(X), self.n_out), self.dtype)
            self._engine.predict(X, out, n_threads)
            if self.loss.name == "cross_entropy":
                right = out.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
            else:
                middle = 0.5 if self.loss.output else 0
                right = (out > middle) == (y > middle)
                right = right.mean(axis=1) if w is not None else right
            scores["accuracy"] = float(right.mean() if w is None else np.average(right, weights=w))
        return scores

    def _samples(self, X, y, weights=None, of=""):
        X = as_inputs(X, self, f"{of}X")
        y = as_targets(y, len(X), self, f"{of}y", f"{of}X")
        weights = as_weights(weights, len(X), f"{of}sample_weight", f"{of}X")
        if len(X) == 0:
            raise ValueError(f"{of}X has no rows; at least one is needed.")
        check_weights(weights, f"{of}sample_weight")
        # A step changes theta while it still reads X and y.
        X, y = (a.copy() if np.may_share_memory(a, self.theta) else a for a in (X, y))
        return X, y, weights

    def _weights(self, weights, classes, y, of=""):
        weights = times_classes(weights, classes, y, self, f"{of}y")
        check_weights(weights, f"{of}sample_weight times class_weight")
        return weights

    def _batch_size(self, batch_size, rows):
        if isinstance(batch_size, str):
            if batch_size != "full":
                raise ValueError(f'batch_size must be an integer or "full", got {batch_size!r}')
            batch_size = rows
        batch_size = min(positive_int(batch_size, "batch_size"), rows)
        check_batches(self, rows, batch_size)
        return batch_size

    # ---- description and files ----

    def config(self):
        """Return the arguments that make this network again (but its weights), as JSON values."""
        return self._config_with(self._optimizer)

    def _config_with(self, optimizer):
        return {
            "n_in": self.n_in,
            "layers": [layer.config() for layer in self.layers],
            "loss": self.loss.config(),
            "optimizer": optimizer.config(),
            "dtype": self.dtype.name,
        }

    def __repr__(self):
        layers = ", ".join(repr(layer) for layer in self.layers)
        loss = self.loss.name if self.loss == self.loss.name else self.loss
        return (
            f"{type(self).__name__}({self.n_in}, {layers}, loss={loss!r}, "
            f"optimizer={self._optimizer!r})"
        )

    def summary(self):
        """Print a table of the layers: what they do, their shapes and parameters."""
        rows = [("layer", "activation", "in -> out", "parameters")]
        width = self.n_in
        for i, layer in enumerate(self.layers):
            rows += layer.rows_of_summary(str(i), width)
            width = layer.n_outputs(width)
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for row in rows:
            left = "  ".join(cell.ljust(size) for cell, size in zip(row[:3], widths, strict=False))
            print(f"{left}  {row[3].rjust(widths[3])}")
        print(
            f"{self.n_params:,} parameters of {self.dtype}; loss {self.loss}, "
            f"optimizer {self._optimizer!r}, running on {self.backend}"
        )

    def copy(self):
        """Return an independent copy, with the optimizer's state and the random state.

        Copies and pickles keep the type and added attributes; ``__init__`` is not called.
        """
        return copy.deepcopy(self)

    def save(self, path):
        """Write the network to a safetensors file: weights, optimizer state, random state.

        The file is written beside `path` and renamed, so `path` is never half written.

        Parameters
        ----------
        path : str or os.PathLike
        """
        from . import persistence

        persistence.save(self, path)

    def __reduce__(self):
        from . import persistence

        data = persistence.to_bytes(self, for_copy=True)
        return persistence.from_bytes, (data, self._backend, type(self)), self.__getstate__()

    def __getstate__(self):
        """What the bytes of a file leave out: attributes that were added, the optimizer's type."""
        added = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        return added | {"_optimizer": copy.copy(self._optimizer)}

    def __setstate__(self, state):  # Cython gives the base one that raises
        self.__dict__.update(state)


# Losses of classes: those of two by the sign of the score, or the half of its sigmoid.
_CLASSIFIERS = ("cross_entropy", "binary_cross_entropy", "focal", "hinge", "squared_hinge")

# What the engine was made for.
_FIXED = {"n_in", "n_out", "n_params", "loss", "dtype", "layers"}
_OWN = {
    *_FIXED, "_rng", "_training", "_backend", "_optimizer", "_epochs", "_course",
    "_last_rate", "_averages",
}  # fmt: skip  # all that `_build` and training set

_PLAIN = Tuning()


def _kind_of_average(optimizer):
    return "ema" if optimizer.ema else "swa" if optimizer.swa else None


# What is left to do with parameters that are lost.
_START_AGAIN = (
    "make a new network, or go back to a copy made before, and use a smaller learning rate or "
    "scale the inputs and targets"
)


def _as_dtype(dtype):
    try:
        found = np.dtype(dtype) if dtype is not None else None
    except TypeError:
        found = None
    if found is None or not found.isnative or found.name not in ("float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", got {dtype!r}')
    return np.dtype(found.name)  # the one object of this type, which is compared by identity


def _as_rng(seed):
    try:
        if isinstance(seed, (np.random.Generator, np.random.BitGenerator)):
            raise TypeError("a generator is not a seed")
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}: {error}") from None


def _seed_of_draws(rng):
    """A seed from that of a generator, which is left as it is."""
    entropy = rng.bit_generator.seed_seq.entropy
    return int(np.random.SeedSequence(entropy, spawn_key=(1,)).generate_state(1, np.uint64)[0])


def check_layers(layers):
    """Raise if these are not the layers of a network."""
    if not layers:
        raise ValueError("Network needs at least one layer, such as nncore.Dense(1)")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"layer {i} must be a layer such as nncore.Dense(10), got {layer!r}; "
                "layers are separate arguments, not a list."
            )
        if layer.first_only and i > 0:
            raise ValueError(f"layer {i} is {layer!r}, which only the first layer may be")
        if layer.activation in names.WHOLE_ROW and i < len(layers) - 1:
            raise ValueError(f"layer {i} is {layer.activation}, which only the last layer may be")
    output = layers[-1].activation
    if output in names.WHOLE_ROW and layers[-1].n_out == 1:
        always = 1 if output == "softmax" else 0
        raise ValueError(f"a {output} of one output is always {always}. {TWO_CLASSES}")


def check_backend(backend):
    """Return the name of a backend if it can run here."""
    if not isinstance(backend, str) or backend not in ("auto", "reference", *_core.isas()):
        raise ValueError(
            f'backend must be "auto", "reference" or an instruction set that runs here '
            f"({', '.join(_core.isas())}), got {backend!r}"
        )
    return backend


def _make_engine(backend, steps, n_params, loss, dtype):
    if backend == "reference":
        from .reference import ReferenceEngine

        return ReferenceEngine(steps, n_params, loss, dtype)
    use_default()
    return _core.Engine(steps, n_params, loss, dtype, None if backend == "auto" else backend)


def load(path, *, backend="auto"):
    """Return the network that `Network.save` wrote to `path`.

    Nothing in the file is executed or trusted: sizes are checked before anything is allocated.

    Parameters
    ----------
    path : str or os.PathLike
    backend : str, default "auto"
        As in `Network`.

    Returns
    -------
    Network

    Raises
    ------
    nncore.files.FileFormatError
        A ValueError that says what in the file is wrong.
    """
    from . import persistence

    return persistence.load(os.fspath(path), check_backend(backend))
