"""Network: what users hold. It checks, lowers its layers once, and drives an engine."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core, data, names  # files and the NumPy twin are imported where they are used
from .batches import Batches, are_batches
from .gradients import Derivatives
from .history import History
from .initializer import as_initializer
from .layers import Layer, Step
from .layers.dense import positive_int
from .loss import TWO_CLASSES, Loss, choose_loss
from .optimizers import Optimizer, as_optimizer
from .threads import as_count, use_default
from .training import Metrics, Training
from .validation import as_inputs, as_out, as_parameters, as_row, check_linear, check_scaled
from .views import Views
from .weights import class_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .columns import Columns
    from .initializer import Initializer
    from .trainers import Trainer

__all__ = ["History", "Network", "load"]


class Network(Training, Derivatives, Views, _core.Predictor):
    """A feed-forward network that trains in C.

    Parameters
    ----------
    n_in : int
        Number of input features.
    *layers : Layer
        The layers in order: `Dense`, `PReLU`, `Dropout`, `GaussianNoise`, `BatchNorm`,
        `LayerNorm`, `Residual`, `Embedding`; `Scaling` first and last for data in any units.
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
        "rmsprop", "adamax", "nadam", "radam", "lion", or an object such as ``nncore.SGD(0.1)``. Or
        a full-batch trainer (see `nncore.trainers`): "cg", "scg", "lbfgs", "bfgs",
        "one_step_secant", "steepest_descent", "gradient_descent", "rprop-", "rprop+", "irprop-",
        "irprop+", "quickprop", and for squared errors "lm" and "bayesian"; MATLAB's names, such as
        "trainlm"; or an object such as ``nncore.LBFGS(memory=20)``.
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
    columns : nncore.columns.Columns or None
        What the columns of the table were that ``nncore train`` made this network for.

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

    columns: "Columns | None" = None

    def __init__(
        self, n_in: int, *layers: Layer, loss: str | Loss | None = None,
        optimizer: "str | Optimizer | Trainer" = "adam", dtype: "DTypeLike" = "float32",
        seed: int | None = None, backend: str = "auto",
    ) -> None:  # fmt: skip
        if isinstance(n_in, Layer):
            raise TypeError(
                "the first argument of Network is the number of inputs: "
                f"Network(n_in, {n_in!r}, ...), got a layer"
            )
        check_layers(layers)
        check_linear(layers)
        self._build(n_in, layers, loss, optimizer, dtype, seed, backend)

    def _build(
        self, n_in: int, layers: Sequence[Layer], loss: str | Loss | None,
        optimizer: "str | Optimizer | Trainer", dtype: "DTypeLike", seed: int | None, backend: str,
    ) -> None:  # fmt: skip
        """Make the network of these arguments; files and copies come in here, unwarned."""
        self.n_in = positive_int(n_in, "n_in of Network")
        self.dtype = _as_dtype(dtype)
        self._rng, self._seeded = _as_rng(seed), seed is not None
        self._backend = check_backend(backend)
        steps: list[Step] = []
        places = []
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
        check_scaled(self.loss, layers)
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

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and name in self.__dict__:
            raise AttributeError(f"{name} is fixed when a Network is made; make a new one")
        super().__setattr__(name, value)

    def _engine_for(self, steps: list[Step], n_params: int) -> Any:
        """Return an engine like this network's own for other steps."""
        return _make_engine(self._backend, steps, n_params, "mse", self.dtype)

    def _at_loss(self, y: Any = None) -> tuple[Any, Any]:
        """The layer whose outputs the loss takes; and y, in the user's units, in those of the loss.

        Without numbers a `Scaling` leaves y as it is.
        """
        last: Any = self.layers[-1]
        if not last.scales:
            return last, y
        return self.layers[-2], y if y is None or not last.ready else last.unmap(y)

    def _check_ready(self) -> None:
        """Raise if a `Scaling` has no numbers."""
        for i, layer in enumerate(self.layers) if self._engine.pending else ():
            if not layer.ready:
                raise ValueError(
                    f"layers[{i}], {layer!r}, has no numbers yet. The first call of fit takes them "
                    "from X for a Scaling() that is the first layer, and from y for a "
                    "Scaling().inverse() that is the last. Otherwise call "
                    f"net.layers[{i}].adapt(data), or make it by Scaling.of(data)."
                )
        self._engine.pending = False

    # ---- parameters ----

    @property
    def theta(self) -> np.ndarray:
        """All parameters, flat: a writable view of shape (n_params,). Assigning copies into it."""
        return self._engine.theta

    @theta.setter
    def theta(self, values: "ArrayLike") -> None:
        values = as_parameters(values, "theta", self.dtype)
        if values.shape != (self.n_params,):
            raise ValueError(f"theta has shape ({self.n_params},), got {values.shape}")
        self._engine.theta[...] = values

    @property
    def optimizer(self) -> Any:
        """The optimizer. Assigning one starts it afresh: its state is zero."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: "str | Optimizer | Trainer") -> None:
        optimizer = as_optimizer(optimizer)
        with self._training:
            self._start_rule(optimizer)
            self._optimizer = optimizer

    def _start_rule(self, optimizer: Any) -> None:
        self._engine.set_optimizer(optimizer.rule, optimizer.hyper)
        self._averages = optimizer.average
        self._memory = None  # of a full-batch trainer
        _core.touch()
        self._epochs = 0  # done by `fit` since then
        self._course = None  # a schedule that was followed, and its state

    @property
    def backend(self) -> str:
        """What runs this network: an instruction set of the C engine, or "reference"."""
        return self._engine.isa

    def lsuv(
        self, X: "ArrayLike", *, init: "str | Initializer | None" = "orthogonal"
    ) -> list[float]:
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
        rows = as_inputs(X, self)
        if len(rows) == 0:
            raise ValueError("X has no rows; at least one is needed.")
        with self._training:
            variances = lsuv.start(self, rows, init)
        self.optimizer = self._optimizer
        return variances

    # ---- use ----

    def _predict_any(
        self, X: Any, out: np.ndarray | None, n_threads: int | None = None
    ) -> np.ndarray:
        """What `predict` does with arguments that the engine cannot use as they are."""
        X = as_inputs(X, self, finite=False, in_blocks=True)
        if out is not None:
            as_out(out, len(X), self)
        if out is None or data.share_memory(X, out) or not _core.is_matrix(out, write=True):
            result = np.empty((len(X), self.n_out), self.dtype)
        else:
            result = out
        data.predict(self._engine, X, result, as_count(n_threads), sample=True)
        if out is None:
            return result
        if result is not out:
            out[...] = result
        return out

    def _predict_one_any(self, x: "ArrayLike") -> Any:
        return self._predict_any(as_row(x, "x"), None)[0]

    def evaluate(
        self, X: "data.Matrix | data.Batched", y: "data.Matrix | None" = None, *,
        sample_weight: "ArrayLike | None" = None,
        class_weight: "Mapping[int, float] | ArrayLike | None" = None, n_threads: int | None = None,
        metrics: "Metrics | None" = None, missing: str | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """Return the mean loss with the penalties of layers, the accuracy of classes, and metrics.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
        y : array_like
            As in `fit`. Without it X are batches.
        sample_weight, class_weight : optional
            As in `fit`, of these rows; accuracy and metrics are weighted, too.
        n_threads, missing : optional
            As in `fit`.
        metrics : optional
            As in `fit`: names of `nncore.metrics`, or functions.

        Returns
        -------
        dict of str to float
            "loss", and with classes "accuracy": with cross_entropy, binary_cross_entropy, focal,
            hinge and squared_hinge.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1), seed=0)
        >>> sorted(net.evaluate([[1.0], [2.0]], [3.0, 5.0], metrics=["mae", "r2"]))
        ['loss', 'mae', 'r2']
        """
        n_threads = as_count(n_threads)
        if are_batches(X, y):
            classes = class_table(class_weight, None, None, self)
            if metrics is not None:
                raise ValueError("metrics are of all rows at once, which batches are not")
            batches = Batches(X, sample_weight=sample_weight)
            return batches.evaluate(self, classes, missing, n_threads)
        X, y, w = self._samples(X, y, sample_weight, "", True, missing)
        w = self._weights(w, class_table(class_weight, y, w, self), y)
        measures = self._measures(y, w, metrics, self._always())
        return self._evaluate(X, y, w, n_threads, measures)

    # ---- description and files ----

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this network again (but its weights), as JSON values.

        Examples
        --------
        >>> import nncore
        >>> nncore.Network(2, nncore.Dense(1)).config()["layers"]  # doctest: +ELLIPSIS
        [{'type': 'dense', 'n_out': 1, 'activation': 'identity', ...}]
        """
        return self._config_with(self._optimizer)

    def _config_with(self, optimizer: Any) -> dict[str, Any]:
        return {
            "n_in": self.n_in,
            "layers": [layer.config() for layer in self.layers],
            "loss": self.loss.config(),
            "optimizer": optimizer.config(),
            "dtype": self.dtype.name,
        }

    def __repr__(self) -> str:
        layers = ", ".join(repr(layer) for layer in self.layers)
        loss = self.loss.name if self.loss == self.loss.name else self.loss
        return (
            f"{type(self).__name__}({self.n_in}, {layers}, loss={loss!r}, "
            f"optimizer={self._optimizer!r})"
        )

    def summary(self) -> None:
        """Print a table of the layers: what they do, their shapes and parameters.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(3, "tanh"), nncore.Dense(1))
        >>> net.summary()  # doctest: +ELLIPSIS
        layer    activation  in -> out  parameters
        0 Dense  tanh        2 -> 3              9
        1 Dense  identity    3 -> 1              4
        13 parameters of float32; loss mse, optimizer Adam(...), running on ...
        """
        from . import cells

        rows, note = self._summary()
        print(*cells.as_text(rows, 3), note, sep="\n")

    def _summary(self) -> tuple[list[tuple[str, ...]], str]:
        """The rows of `summary`, the head first, and what is said below them."""
        rows: list[tuple[str, ...]] = [("layer", "activation", "in -> out", "parameters")]
        width = self.n_in
        for i, layer in enumerate(self.layers):
            rows += layer.rows_of_summary(str(i), width)
            width = layer.n_outputs(width)
        return rows, (
            f"{self.n_params:,} parameters of {self.dtype}; loss {self.loss}, "
            f"optimizer {self._optimizer!r}, running on {self.backend}"
        )

    def _repr_html_(self) -> str:
        from .notebook import network_html

        rows, note = self._summary()
        return network_html(rows, type(self).__name__, note)

    def copy(self) -> "Network":
        """Return an independent copy, with the optimizer's state and the random state.

        Copies and pickles keep the type and added attributes; ``__init__`` is not called.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(1, nncore.Dense(1), seed=0)
        >>> before = net.copy()
        >>> loss = net.partial_fit([[1.0]], [2.0])
        >>> (net.theta != before.theta).all()
        np.True_
        """
        return copy.deepcopy(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file: weights, optimizer state, random state.

        The file is written beside `path` and renamed, so `path` is never half written.

        Parameters
        ----------
        path : str or os.PathLike

        Examples
        --------
        >>> import tempfile
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(1), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(f"{folder}/model.safetensors")
        ...     twin = nncore.load(f"{folder}/model.safetensors")
        >>> (twin.predict([[1, 2]]) == net.predict([[1, 2]])).all()
        np.True_
        """
        from . import persistence

        persistence.save(self, path)

    @overload
    def to_onnx(
        self, path: None = None, *, opset: int = 17, dtype: "DTypeLike | None" = None
    ) -> bytes: ...
    @overload
    def to_onnx(
        self, path: str | os.PathLike[str], *, opset: int = 17, dtype: "DTypeLike | None" = None
    ) -> None: ...
    def to_onnx(
        self, path: str | os.PathLike[str] | None = None, *, opset: int = 17,
        dtype: "DTypeLike | None" = None,
    ) -> bytes | None:  # fmt: skip
        """Return what `predict` computes as an ONNX model, or write it to a file.

        The onnx package is not needed. The model takes ``X``, (batch, n_in), and gives ``Y``,
        (batch, n_out), where batch is any number of rows; the same network gives the same bytes.

        Parameters
        ----------
        path : str or os.PathLike, optional
            A file, which is never half written. By default the bytes are returned.
        opset : int, default 17
            The version of ONNX's operators, from 13 to 24.
        dtype : {"float32", "float64"}, optional
            Of X, Y and all weights, by default that of the network.

        Returns
        -------
        bytes or None

        Raises
        ------
        ValueError
            If a layer or an activation of your own has no operators in ONNX, a `Scaling` no
            numbers, a `Dropout` ``always=True``, or weights are not finite in `dtype`; nothing is
            written then.

        Notes
        -----
        Layers become Gemm, BatchNormalization, LayerNormalization, PRelu, Add (of a `Residual`),
        Sub and Div or Mul and Add (of a `Scaling`), and Cast and Gather (of an `Embedding`, whose
        tokens are not checked: those below 0 count from the end). `Dropout` and `GaussianNoise`,
        which `predict` leaves out, are left out.
        Activations that ONNX has not, or not in this opset and dtype, are made of its basic
        operators. ONNX Runtime has no Erf in float64, so "gelu" needs dtype="float32" there.

        `nncore.from_onnx` reads such models, and others; `save` keeps all that training needs.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(4, nncore.Dense(8, "mish"), nncore.Dense(3, "softmax"), seed=0)
        >>> model = net.to_onnx()
        >>> twin = nncore.from_onnx(model)
        >>> (twin.predict([[1, 2, 3, 4]]) == net.predict([[1, 2, 3, 4]])).all()
        np.True_
        """
        from .exchange import onnx_writing

        return onnx_writing.write(self, path, opset, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        from . import persistence

        data = persistence.to_bytes(self, for_copy=True)
        return persistence.from_bytes, (data, self._backend, type(self)), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """What the bytes of a file leave out: attributes that were added, the optimizer's type."""
        added = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        return added | {"_optimizer": copy.copy(self._optimizer)}

    def __setstate__(self, state: dict[str, Any]) -> None:  # Cython gives the base one that raises
        self.__dict__.update(state)


# What the engine was made for.
_FIXED = {"n_in", "n_out", "n_params", "loss", "dtype", "layers"}
_OWN = {
    *_FIXED, "_rng", "_backend", "_optimizer", "_epochs", "_course",
    "_last_rate", "_averages", "_memory",
}  # fmt: skip  # all that `_build` and training set


def _as_dtype(dtype: "DTypeLike") -> np.dtype:
    try:
        found = np.dtype(dtype) if dtype is not None else None
    except TypeError:
        found = None
    if found is None or not found.isnative or found.name not in ("float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", got {dtype!r}')
    return np.dtype(found.name)  # the one object of this type, which is compared by identity


def _as_rng(seed: int | None) -> "np.random.Generator":
    try:
        if isinstance(seed, (np.random.Generator, np.random.BitGenerator)):
            raise TypeError("a generator is not a seed")
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}: {error}") from None


def _seed_of_draws(rng: "np.random.Generator") -> int:
    """A seed from that of a generator, which is left as it is."""
    seeds: Any = rng.bit_generator.seed_seq
    return int(
        np.random.SeedSequence(seeds.entropy, spawn_key=(1,)).generate_state(1, np.uint64)[0]
    )


def check_layers(layers: Sequence[Layer]) -> None:
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
    last: Any = layers[-1]
    if last.scales and not last.inverted:
        raise ValueError(
            f"the last layer is {last!r}: there it has to lead back to the units of the "
            "targets, Scaling.of(y).inverse()"
        )
    output = last.activation
    if output in names.WHOLE_ROW and last.n_out == 1:
        always = 1 if output == "softmax" else 0
        raise ValueError(f"a {output} of one output is always {always}. {TWO_CLASSES}")


def check_backend(backend: str) -> str:
    """Return the name of a backend if it can run here."""
    if not isinstance(backend, str) or backend not in ("auto", "reference", *_core.isas()):
        raise ValueError(
            f'backend must be "auto", "reference" or an instruction set that runs here '
            f"({', '.join(_core.isas())}), got {backend!r}"
        )
    return backend


def _make_engine(
    backend: str, steps: list[Step], n_params: int, loss: str | Loss, dtype: np.dtype
) -> Any:
    if backend == "reference":
        from .reference import ReferenceEngine

        return ReferenceEngine(steps, n_params, loss, dtype)
    use_default()
    return _core.Engine(steps, n_params, loss, dtype, None if backend == "auto" else backend)


def load(path: str | os.PathLike[str], *, backend: str = "auto") -> Network:
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

    Examples
    --------
    See `Network.save`.
    """
    from . import persistence

    return persistence.load(os.fspath(path), check_backend(backend))
