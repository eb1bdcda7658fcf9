"""The steps of the NumPy twin that are not dense: what each means, forwards and backwards.

A step has

forward(x, y)                write y, (M, n_out), from x, (M, n_in); they do not overlap
backward(x, y, dy, dx)       after `forward` of the same x: write the gradient with respect to x to
                             dx, unless that is None, and that of the parameters to the engine's
                             vector; dy may be overwritten
settle()                     after an update of the parameters

`STEPS` has the names of csrc/tables/steps.def. Every constructor takes (step, place, engine): the
step, its place in the network, and what has theta, the gradient, the running statistics and the
mode of the present run.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .activations import Array


class Mode:
    """What the present run is. Steps keep a reference to it.

    training    random numbers are drawn, batches give their own statistics
    sample      a prediction in which what is random there is drawn
    number      of the training step, or of the prediction, since the network was made
    first       number of the first row of x in its batch
    seed        of the random numbers
    """

    training, sample, number, first, seed = False, False, 0, 0, 0


# --- Random numbers by counter --------------------------------------------------------------------


def philox(counter: tuple[Any, ...], key: tuple[int, int]) -> tuple[Array, ...]:
    """Philox4x32-10: four words of 32 random bits from four of a counter and two of a key.

    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The
    words are arrays of uint64 below 2^32 that broadcast.
    """
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (int(word) for word in key)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def words(mode: Mode, place: int, shape: tuple[int, ...]) -> Array:
    """Random words of 32 bits for a layer's columns of rows, (M, n), as uint64.

    Word j % 4 of the counter (j // 4, row in the batch, ...) is that of column j.
    """
    rows, n = shape
    groups = -(-n // 4)
    high = (mode.number >> 32 & 0xFFFF) << 16 | (not mode.training) << 15 | place
    counter = (
        np.arange(groups)[None, :],
        np.arange(mode.first, mode.first + rows)[:, None],
        mode.number & 0xFFFFFFFF,
        high,
    )
    found = np.broadcast_arrays(*philox(counter, (mode.seed & 0xFFFFFFFF, mode.seed >> 32)))
    return np.stack(found, axis=2).reshape(rows, 4 * groups)[:, :n]


# --- The steps ------------------------------------------------------------------------------------


class _Step:
    w: Array
    dw: Array
    b: Array
    db: Array

    def __init__(self, step: Any, place: int, engine: Any) -> None:
        self.step, self.place, self.mode = step, place, engine.mode
        n = step.n_out
        self.w, self.dw = (
            None if step.w < 0 else v[step.w : step.w + n] for v in (engine.theta, engine.gradient)
        )
        self.b, self.db = (
            None if step.b < 0 else v[step.b : step.b + n] for v in (engine.theta, engine.gradient)
        )

    def settle(self) -> None:
        pass


class Dropout(_Step):
    """y = x / (1 - rate), or 0 with probability rate, in training; else y = x."""

    def _drop(self, x: Array, y: Array) -> None:
        rate, always = self.step.values
        if self.mode.training or (always and self.mode.sample):
            kept = words(self.mode, self.place, x.shape) >= int(rate * 2**32)
            np.multiply(x, x.dtype.type(1 / (1 - rate)), out=y)
            y[~kept] = 0
        else:
            y[...] = x

    def forward(self, x: Array, y: Array) -> None:
        self._drop(x, y)

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        if dx is not None:
            self._drop(dy, dx)


class Noise(_Step):
    """y = x + std n, n standard normal, in training; else y = x."""

    def forward(self, x: Array, y: Array) -> None:
        y[...] = x
        if self.mode.training:
            y += x.dtype.type(self.step.values[0]) * self._normal(x)

    def _normal(self, x: Array) -> Array:  # Box and Muller 1958, of columns 2 i and 2 i + 1
        rows, n = x.shape
        bits = words(self.mode, self.place, (rows, n + n % 2))
        u = ((bits >> np.uint64(9)).astype(x.dtype) + x.dtype.type(0.5)) * x.dtype.type(2.0**-23)
        r = np.sqrt(-2 * np.log(u[:, 0::2]))
        angle = 2 * np.pi * (u[:, 1::2] - x.dtype.type(0.5))
        normal = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=2)
        return normal.reshape(rows, n + n % 2)[:, :n]

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        if dx is not None:
            dx[...] = dy


class BatchNorm(_Step):
    """y = (x - mean) / sqrt(var + eps) gamma + beta, of each column.

    In training the mean and biased variance of the batch, else the running ones, which move by
    momentum times the difference to the batch's mean and unbiased variance at each update.
    """

    def __init__(self, step: Any, place: int, engine: Any) -> None:
        super().__init__(step, place, engine)
        at, n = engine.place_running(2 * step.n_out), step.n_out
        self.running_mean = engine.running[at : at + n]
        self.running_var = engine.running[at + n : at + 2 * n]

    def forward(self, x: Array, y: Array) -> None:
        if self.mode.training:
            self.mean, self.var = x.mean(axis=0), x.var(axis=0)
            self.rows = len(x)
        else:
            self.mean, self.var = self.running_mean, self.running_var
        self.scale = 1 / np.sqrt(self.var + x.dtype.type(self.step.values[1]))
        self.unit = (x - self.mean) * self.scale
        np.multiply(self.unit, self.w, out=y)
        y += self.b

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        np.sum(dy, axis=0, out=self.db)
        np.sum(dy * self.unit, axis=0, out=self.dw)
        if dx is not None:
            dx[...] = dy
            if self.mode.training:  # the statistics depend on x, too
                dx -= self.db / self.rows
                dx -= self.unit * (self.dw / self.rows)
            dx *= self.w * self.scale

    def settle(self) -> None:
        momentum = self.step.values[0]
        unbiased = self.var * (self.rows / (self.rows - 1))
        self.running_mean += momentum * (self.mean - self.running_mean)
        self.running_var += momentum * (unbiased - self.running_var)


class LayerNorm(_Step):
    """y = (x - mean) / sqrt(var + eps) gamma + beta, of each row."""

    def forward(self, x: Array, y: Array) -> None:
        eps = x.dtype.type(self.step.values[1])
        self.scale = 1 / np.sqrt(x.var(axis=1, keepdims=True) + eps)
        self.unit = (x - x.mean(axis=1, keepdims=True)) * self.scale
        np.multiply(self.unit, self.w, out=y)
        y += self.b

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        np.sum(dy, axis=0, out=self.db)
        np.sum(dy * self.unit, axis=0, out=self.dw)
        if dx is not None:
            np.multiply(dy, self.w, out=dx)
            along = (dx * self.unit).mean(axis=1, keepdims=True)
            dx -= dx.mean(axis=1, keepdims=True)
            dx -= self.unit * along
            dx *= self.scale


class PReLU(_Step):
    """y = x where x > 0, else w x; one w for each column, or one for all."""

    def __init__(self, step: Any, place: int, engine: Any) -> None:
        super().__init__(step, place, engine)
        self.w, self.dw = (v[step.w : step.w + step.other] for v in (engine.theta, engine.gradient))

    def forward(self, x: Array, y: Array) -> None:
        np.multiply(x, np.where(x < 0, self.w, x.dtype.type(1)), out=y)

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        each = np.sum(dy * np.minimum(x, 0), axis=0)
        self.dw[:] = each if len(self.dw) == len(each) else each.sum()
        if dx is not None:
            np.multiply(dy, np.where(x > 0, x.dtype.type(1), self.w), out=dx)


class Embedding(_Step):
    """For each column of x a row of a table, or the number itself."""

    def __init__(self, step: Any, place: int, engine: Any) -> None:
        super().__init__(step, place, engine)
        self.w, self.dw = (v[step.w : step.w + step.other] for v in (engine.theta, engine.gradient))

    def _tables(self, flat: Array) -> Iterator[tuple[slice, Array | None]]:
        """The first output of each column of x, and the table it has in a flat vector, or None."""
        first = 0
        for n_tokens, dim, at in self.step.columns:
            table = flat[at : at + n_tokens * dim].reshape(n_tokens, dim) if n_tokens else None
            yield slice(first, first + dim), table
            first += dim

    def forward(self, x: Array, y: Array) -> None:
        for column, (to, table) in enumerate(self._tables(self.w)):
            if table is None:
                y[:, to] = x[:, column : column + 1]
            else:
                y[:, to] = table[x[:, column].astype(np.intp)]

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        self.dw[:] = 0
        for column, (of, table) in enumerate(self._tables(self.dw)):
            if table is not None:
                np.add.at(table, x[:, column].astype(np.intp), dy[:, of])
            if dx is not None:  # tokens have no derivative
                dx[:, column] = dy[:, of.start] if table is None else 0


class Fork(_Step):
    """y = x, which an `Add` further up adds again."""

    skipped: Array

    def forward(self, x: Array, y: Array) -> None:
        y[...] = x
        self.y = y

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        if dx is not None:
            np.add(dy, self.skipped, out=dx)


class Add(_Step):
    """y = x + what its fork had."""

    def __init__(self, step: Any, place: int, engine: Any) -> None:
        super().__init__(step, place, engine)
        self.fork = engine.made[place + step.other]

    def forward(self, x: Array, y: Array) -> None:
        np.add(x, self.fork.y, out=y)

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        self.fork.skipped = dy
        if dx is not None:
            dx[...] = dy


class Called(_Step):
    """y = f(x), of a function that was registered."""

    def forward(self, x: Array, y: Array) -> None:
        y[...] = self.step.function.apply(0, x.copy())

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        if dx is not None:
            dx[...] = self.step.function.apply(1, x.copy())
            dx *= dy


class Scaling(_Step):
    """y = (x - mean) / scale of each column or, inverted, x scale + mean."""

    def __init__(self, step: Any, place: int, engine: Any) -> None:
        super().__init__(step, place, engine)
        at, n = engine.place_running(2 * step.n_out), step.n_out
        self.mean, self.scale = engine.running[at : at + n], engine.running[at + n : at + 2 * n]
        self.inverted = step.values[0] != 0

    def forward(self, x: Array, y: Array) -> None:
        if self.inverted:
            np.multiply(x, self.scale, out=y)
            y += self.mean
        else:
            np.subtract(x, self.mean, out=y)
            y /= self.scale

    def invert(self, y: Array) -> Array:
        """Return the x of these y."""
        return (y - self.mean) / self.scale if self.inverted else y * self.scale + self.mean

    def slopes(self) -> Array:
        """Return dy/dx of each column."""
        return self.scale if self.inverted else 1 / self.scale

    def backward(self, x: Array, y: Array, dy: Array, dx: Array | None) -> None:
        if dx is not None:
            (np.multiply if self.inverted else np.divide)(dy, self.scale, out=dx)


STEPS = {
    "dropout": Dropout,
    "noise": Noise,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "prelu": PReLU,
    "embedding": Embedding,
    "fork": Fork,
    "add": Add,
    "called": Called,
    "scaling": Scaling,
}
