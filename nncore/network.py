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
from .layers import Layer
from .layers.dense import positive_int
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


class History(Mapping):
    """What `Network.fit` recorded: lists with one value per epoch, by name.

    ``history["loss"]`` is the mean of the losses of the epoch's batches, each before its update,
    weighted by their rows; with validation data there is ``"val_loss"`` too, and for classes
    ``"val_accuracy"``.

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
    loss : str, optional
        "mse" (mean over all elements), "half_mse" (half the sum over outputs, mean over rows),
        "cross_entropy" (of a "softmax" output) or "binary_cross_entropy" (of a "sigmoid" one).
        By default what the last activation asks for: cross_entropy after softmax,
        binary_cross_entropy after sigmoid, otherwise mse.
    optimizer : str or Optimizer, default "adam"
        "sgd", "momentum", "nesterov", "adam", or an object such as ``nncore.SGD(0.1)``.
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
    loss : str
        The loss's name.
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
        self.loss = _choose_loss(loss, layers)
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
            self._engine.set_optimizer(optimizer.rule, optimizer.hyper)
            self._optimizer = optimizer

    @property
    def backend(self):
        """What runs this network: an instruction set of the C engine, or "reference"."""
        return self._engine.isa

    def lsuv(self, X, *, init="orthogonal"):
        """Start again, so that each layer's ``x W`` has the variance 1 for the rows of X.

        Layer-sequential unit variance (Mishkin and Matas 2016): from the first `Dense` layer to the
        last, W is drawn orthonormal, the biases are zero, and W is divided by the standard
        deviation, over all rows and units, of ``x W`` for the x that the layers before it give.
        Other layers stay as they are. The optimizer starts afresh.

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

    def evaluate(self, X, y, *, n_threads=None):
        """Return the mean loss, and for classes the accuracy.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        dict of str to float
            "loss", and with a cross-entropy "accuracy".
        """
        return self._evaluate(*self._samples(X, y), as_count(n_threads))

    # ---- training ----

    def fit(
        self, X, y, *, epochs=1, batch_size=32, shuffle=True, validation_data=None, verbose="auto",
        n_threads=None,
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
        validation_data : tuple (X, y), optional
            Evaluated after each epoch.
        verbose : bool or "auto", default "auto"
            A progress line on stderr; "auto" shows it in a terminal only.
        n_threads : int, optional
            The most threads to use, 1 to 64; by default `get_num_threads`. Small steps use one in
            any case. The result has the same bits with any number.

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
        X, y = self._samples(X, y)
        epochs = positive_int(epochs, "epochs")
        if not isinstance(shuffle, (bool, np.bool_)):
            raise ValueError(f"shuffle must be True or False, got {shuffle!r}")
        batch_size = self._batch_size(batch_size, len(X))
        n_threads = as_count(n_threads)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                raise ValueError("validation_data must be a tuple (X, y)")
            validation = self._samples(*validation_data, "validation X", "validation y")
        history, progress = History(), Progress(epochs, verbose)
        with self._training:
            try:
                for epoch in range(1, epochs + 1):
                    loss = self._epoch(X, y, batch_size, shuffle, n_threads, epoch, history)
                    scores = self._evaluate(*validation, n_threads) if validation else {}
                    history.append(
                        loss=loss, **{f"val_{name}": value for name, value in scores.items()}
                    )
                    progress.update(epoch, history)
            finally:
                progress.close()
        self._check_parameters()
        return history

    def partial_fit(self, X, y, *, n_threads=None):
        """Do one update with all rows as one batch; the optimizer's state is kept.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
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
        X, y = self._samples(X, y)
        self._batch_size(len(X), len(X))
        n_threads = as_count(n_threads)
        with self._training:
            loss = self._epoch(X, y, len(X), False, n_threads, None, History())
        self._check_parameters()
        return loss

    def _epoch(self, X, y, batch_size, shuffle, n_threads, epoch, history):
        """One pass; the mean loss of its rows. `epoch` is its number, None in `partial_fit`."""
        engine, rows = self._engine, len(X)
        self._refresh_optimizer()
        order = self._rng.permutation(rows) if shuffle else None
        start = time.perf_counter()
        losses = engine.train(X, y, order, batch_size, n_threads)
        history.seconds += time.perf_counter() - start
        history.n_steps += len(losses)
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
        sizes = np.full(len(losses), batch_size)
        sizes[-1] = rows - batch_size * (len(losses) - 1)
        return float(losses @ sizes / rows)

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
            self._engine.set_optimizer(optimizer.rule, optimizer.hyper)

    def _settle_optimizer(self):
        """Let a changed rule count now, so that what is saved fits together."""
        self._optimizer.check()
        if self._optimizer.rule != self._engine.rule:
            with self._training:
                self._refresh_optimizer()

    def _evaluate(self, X, y, n_threads):
        scores = {"loss": self._engine.loss(X, y, n_threads)}
        if self.loss in ("cross_entropy", "binary_cross_entropy"):
            out = np.empty((len(X), self.n_out), self.dtype)
            self._engine.predict(X, out, n_threads)
            if self.loss == "cross_entropy":
                right = out.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
            else:
                right = (out > 0.5) == (y > 0.5)
            scores["accuracy"] = float(right.mean())
        return scores

    def _samples(self, X, y, x_name="X", y_name="y"):
        X = as_inputs(X, self, x_name)
        y = as_targets(y, len(X), self, y_name, x_name)
        if len(X) == 0:
            raise ValueError(f"{x_name} has no rows; at least one is needed.")
        # A step changes theta while it still reads X and y.
        X, y = (a.copy() if np.may_share_memory(a, self.theta) else a for a in (X, y))
        return X, y

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
        return {
            "n_in": self.n_in,
            "layers": [layer.config() for layer in self.layers],
            "loss": self.loss,
            "optimizer": self._optimizer.config(),
            "dtype": self.dtype.name,
        }

    def __repr__(self):
        layers = ", ".join(repr(layer) for layer in self.layers)
        return (
            f"{type(self).__name__}({self.n_in}, {layers}, loss={self.loss!r}, "
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

        data = persistence.to_bytes(self)
        return persistence.from_bytes, (data, self._backend, type(self)), self.__getstate__()

    def __getstate__(self):
        """What the bytes of a file leave out: attributes that were added, the optimizer's type."""
        added = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        return added | {"_optimizer": copy.copy(self._optimizer)}

    def __setstate__(self, state):  # Cython gives the base one that raises
        self.__dict__.update(state)


# What the engine was made for.
_FIXED = {"n_in", "n_out", "n_params", "loss", "dtype", "layers"}
_OWN = {*_FIXED, "_rng", "_training", "_backend", "_optimizer"}  # all that `_build` sets


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


_TWO_CLASSES = (
    'For two classes use Dense(1, "sigmoid") and binary_cross_entropy; for more, one output per '
    'class, such as Dense(3, "softmax").'
)


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
        if layer.activation == "softmax" and i < len(layers) - 1:
            raise ValueError(f"layer {i} is softmax, which only the last layer may be")
    if layers[-1].activation == "softmax" and layers[-1].n_out == 1:
        raise ValueError(f"a softmax of one output is always 1. {_TWO_CLASSES}")


def _choose_loss(loss, layers):
    """The loss's name, checked against the output activation."""
    output = layers[-1].activation
    fused = {row["output"]: name for name, row in _core.LOSSES.items() if row["output"]}
    if loss is None:
        return fused.get(output, "mse")
    loss = names.LOSS_ALIASES.get(loss, loss) if isinstance(loss, str) else loss
    names.look_up("loss", loss, [*_core.LOSSES, *names.LOSS_ALIASES])
    needed = _core.LOSSES[loss]["output"]
    if needed not in (None, output):
        n_out = getattr(layers[-1], "n_out", None)
        one = needed == "softmax" and n_out == 1
        fix = _TWO_CLASSES if one else f'Use Dense({n_out or "n_out"}, "{needed}").'
        shown = f'"{output}"' if n_out else repr(layers[-1])
        raise ValueError(
            f'{loss} needs a "{needed}" output, but the last layer is {shown}: the two are '
            f"computed together, from the raw scores. {fix}"
        )
    return loss


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
