"""What is measured: shapes, their data, and the least time that a step of them can take."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

import numpy as np

ACTIVATIONS = (
    "elu", "gelu", "identity", "leaky_relu", "relu", "selu", "sigmoid", "silu", "softplus",
    "softsign", "tanh",
)  # fmt: skip
LOSSES = {  # loss: the output activation that it asks for
    "mse": "identity",
    "half_mse": "identity",
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
}
ALIASES = {"softmax": "cross_entropy", "bce": "binary_cross_entropy"}
MODES = {  # mode: what one unit of its time is
    "train": "one step: gather a shuffled batch, forward, backward, Adam",
    "online": "one sample: batch 1, SGD",
    "predict": "one call from Python, everything included",
}
LEARNING_RATE = {"adam": 1e-3, "sgd": 1e-2}
VECTORS = {"adam": 7, "sgd": 3}  # passes over the parameters in an update, reads and writes

TRAIN = (
    "3-2-1:sigmoid:mse:8",
    "4-16-3:tanh:softmax:16",
    "64-64-32-10:relu:softmax:32",
    "32-64x10-1:tanh:mse:64",
    "784-128-10:relu:softmax:64",
    "17-256-256-6:tanh:mse:256",
    "784-512-512-10:relu:softmax:128",
    "1024-2048-2048-1024:relu:mse:256",
)
ONLINE = ("3-2-1:sigmoid:mse:1", "10-20-2:tanh:softmax:1", "64-64-32-10:relu:softmax:1")
PREDICT = (
    "4-16-3:tanh:softmax:1",
    "64-64-32-10:relu:softmax:1",
    "784-128-10:relu:softmax:1",
    "4-16-3:tanh:softmax:32",
    "64-64-32-10:relu:softmax:32",
    "17-256-256-6:tanh:mse:32",
    "784-128-10:relu:softmax:32",
    "4-16-3:tanh:softmax:1024",
    "64-64-32-10:relu:softmax:1024",
    "17-256-256-6:tanh:mse:1024",
    "784-512-512-10:relu:softmax:1024",
)
QUICK = {"train": (0, 2, 5), "online": (2,), "predict": (1, 4)}  # of the tuples above

VERIFIED_STEPS = 4
_ROW_BYTES = 16 << 20  # X is never larger


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its loss, the rows of a batch, and what is done with it.

    Examples
    --------
    >>> case = Case.parse("4-16x2-3:tanh:softmax:8", mode="train")
    >>> case.layers, case.loss, case.n_params
    ((4, 16, 16, 3), 'cross_entropy', 403)
    >>> case.name
    '4-16-16-3:tanh:cross_entropy:8:float32'
    """

    layers: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    dtype: str = "float32"
    mode: str = "train"
    most_steps: int = 4096

    @classmethod
    def parse(cls, text: str, mode: str, dtype: str = "float32") -> "Case":
        """Return the case that ``layers:activation:loss:batch[:dtype]`` describes."""
        parts = text.split(":")
        if len(parts) not in (4, 5):
            raise ValueError(
                f"a case is layers:activation:loss:batch or layers:activation:loss:batch:dtype, "
                f"such as 64-32-10:relu:cross_entropy:32; got {text!r}"
            )
        activation, loss = parts[1], ALIASES.get(parts[2], parts[2])
        dtype = parts[4] if len(parts) == 5 else dtype
        for what, value, known in (
            ("activation", activation, ACTIVATIONS),
            ("loss", loss, (*LOSSES, *ALIASES)),
            ("dtype", dtype, ("float32", "float64")),
        ):
            if value not in known:
                raise ValueError(
                    f"{what} of a case must be one of {', '.join(known)}; got {value!r}"
                )
        layers, batch = _parse_layers(parts[0]), _positive(parts[3], "the batch")
        if loss == "cross_entropy" and layers[-1] < 2:
            raise ValueError(f"cross_entropy needs at least 2 outputs; got {parts[0]!r}")
        return cls(layers, activation, loss, batch, dtype, mode)

    def shorter(self) -> "Case":
        """Return it with fewer steps per epoch: for a first look."""
        return dataclasses.replace(self, most_steps=400)

    @property
    def name(self) -> str:
        """How `parse` reads it."""
        return f"{self.shape}:{self.activation}:{self.loss}:{self.batch}:{self.dtype}"

    @property
    def shape(self) -> str:
        """The layers as text, with equal ones in a row counted: 32-64x10-1."""
        runs: list[list[int]] = []
        for n in self.layers:
            if runs and runs[-1][0] == n:
                runs[-1][1] += 1
            else:
                runs.append([n, 1])
        # Two equal ones are read faster than a factor of 2.
        return "-".join(f"{n}x{m}" if m > 2 else "-".join([str(n)] * m) for n, m in runs)

    @property
    def output(self) -> str:
        """The activation of the last layer."""
        return LOSSES[self.loss]

    @property
    def optimizer(self) -> str:
        """The update rule: online learning is plain SGD."""
        return "sgd" if self.mode == "online" else "adam"

    @property
    def learning_rate(self) -> float:
        """Of `optimizer`."""
        return LEARNING_RATE[self.optimizer]

    @property
    def products(self) -> list[tuple[int, int]]:
        """(n_in, n_out) of each layer."""
        return list(zip(self.layers, self.layers[1:], strict=False))

    @property
    def n_params(self) -> int:
        """Weights and biases."""
        return sum((n_in + 1) * n_out for n_in, n_out in self.products)

    @property
    def operations(self) -> int:
        """Multiplications and additions of the matrix products of one unit.

        A step has three products per layer (y, dW, dx), but the first layer needs no dx.
        """
        sizes = [2 * self.batch * n_in * n_out for n_in, n_out in self.products]
        return sum(sizes) if self.mode == "predict" else 3 * sum(sizes) - sizes[0]

    @property
    def steps(self) -> int:
        """Batches of an epoch: some 5 ms of work, so that what a call costs once does not count.

        Fewer if X would grow beyond a few MB or slower systems would take too long, at least 2.
        """
        guess = self.operations / 4e10 + (3e-7 if self.mode == "online" else 2e-6)
        most = _ROW_BYTES // (self.batch * self.layers[0] * np.dtype(self.dtype).itemsize)
        return int(max(2, min(5e-3 / guess, most, self.most_steps)))

    def floor(self, peak: float, bandwidth: float) -> float:
        """Return the seconds below which one unit cannot fall.

        Parameters
        ----------
        peak : float
            Operations per second of fused multiply-adds on registers.
        bandwidth : float
            Bytes per second, read and written, of copies of the length of the parameters.

        Returns
        -------
        float
            Of a step: the products at the peak, then the update's passes over the parameters. Of a
            prediction: the longer of the products and reading the parameters, which overlap.
        """
        vector = self.n_params * np.dtype(self.dtype).itemsize / bandwidth
        products = self.operations / peak
        if self.mode == "predict":
            return max(products, vector)
        return products + VECTORS[self.optimizer] * vector


@dataclasses.dataclass
class Data:
    """What every system gets: rows, targets, starting weights, and the order of verification."""

    X: np.ndarray
    y: np.ndarray
    weights: list[tuple[np.ndarray, np.ndarray]]
    order: np.ndarray

    @classmethod
    def of(cls, case: Case, dtype: str | None = None) -> "Data":
        """Return the data of a case: the same numbers in every process, rounded to dtype."""
        rng = np.random.default_rng([case.batch, *case.layers])
        rows = case.batch if case.mode == "predict" else case.batch * case.steps
        n_out = case.layers[-1]
        X = rng.standard_normal((rows, case.layers[0]), np.float32)
        y: np.ndarray
        if case.loss == "cross_entropy":
            y = rng.integers(0, n_out, rows)
            y[:n_out] = np.arange(n_out)[:rows]  # every class occurs
        elif case.loss == "binary_cross_entropy":
            y = rng.integers(0, 2, (rows, n_out)).astype(np.float32)
        else:
            y = rng.standard_normal((rows, n_out), np.float32)
        weights = [
            (
                rng.standard_normal((n_in, n_out), np.float32) * np.float32(n_in**-0.5),
                rng.standard_normal(n_out, np.float32) * np.float32(0.1),
            )
            for n_in, n_out in case.products
        ]
        order = rng.permutation(rows)[: VERIFIED_STEPS * case.batch]
        dtype = dtype or case.dtype
        return cls(
            X.astype(dtype),
            y if case.loss == "cross_entropy" else y.astype(dtype),
            [(W.astype(dtype), b.astype(dtype)) for W, b in weights],
            order,
        )

    def batches(self, size: int) -> np.ndarray:
        """The batches of `order`."""
        return self.order.reshape(-1, size)


def built_in(mode: str, dtype: str = "float32", quick: bool = False) -> list[Case]:
    """Return the built-in cases of a mode."""
    texts: Sequence[str] = {"train": TRAIN, "online": ONLINE, "predict": PREDICT}[mode]
    if quick:
        texts = [texts[i] for i in QUICK[mode]]
    return [Case.parse(text, mode, dtype) for text in texts]


def given(text: str, modes: Iterable[str], dtype: str = "float32") -> list[Case]:
    """Return the cases of a user's shape: its steps, its samples, its predictions."""
    case = Case.parse(text, "train", dtype)
    found = []
    for mode in modes:
        batches = {"train": {case.batch}, "online": {1}, "predict": {1, case.batch}}[mode]
        found += [dataclasses.replace(case, mode=mode, batch=batch) for batch in sorted(batches)]
    return found


def _parse_layers(text: str) -> tuple[int, ...]:
    layers = []
    for part in text.split("-"):
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", part)
        if not match:
            raise ValueError(
                f"layers of a case are numbers joined by -, such as 64-32-10 or 32-64x10-1; "
                f"got {text!r}"
            )
        times = _positive(match[2], "a number of layers") if match[2] else 1
        layers += [_positive(match[1], "a layer")] * min(times, 1000)
    if len(layers) < 2:
        raise ValueError(f"a case needs at least inputs and outputs, such as 4-3; got {text!r}")
    return tuple(layers)


def _positive(text: str, what: str) -> int:
    if not re.fullmatch(r"\d{1,7}", text) or int(text) < 1:
        raise ValueError(f"{what} of a case must be an integer from 1 to 9999999; got {text!r}")
    return int(text)
