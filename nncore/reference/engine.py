"""The engine in NumPy: a lowered network that predicts and trains."""

import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import steps as reference_steps
from .activations import ACTIVATIONS, LOG_SOFTMAX, SOFTMAX, Activation
from .derivatives import Derivatives
from .losses import loss_of
from .optimizers import OPTIMIZERS

# Rows per block outside of training: memory stays bounded, matrix products stay efficient.
BLOCK = 512


class ReferenceEngine(Derivatives):
    """Predicts with and trains a lowered network.

    Parameters
    ----------
    steps : sequence of Step
        Each has `kind`, `n_in`, `n_out`; a "dense" one `activation` with its `parameters`, and in
        `w` and `b` the offsets of W (n_in, n_out) and of the bias (n_out,) in theta; b = -1: no
        bias. The other kinds are in `reference.steps`.
    n_params : int
        Length of theta.
    loss : str or nncore.Loss
        A key of `LOSSES`, or an object with that as ``name`` and its parameters as ``values``.
    dtype : dtype
        float32 or float64, of theta and of every floating-point array given.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        All parameters, zero at the start. Write into it; do not replace it.
    state : ndarray, (n_vectors, n_params)
        What the optimizer remembers.
    average : ndarray, (n_params,), or None
        An average of theta, of `averaged` of them.
    rule : str
        Name of the update rule.
    hyper : tuple of float
        Hyper-parameters of the rule; may be replaced between calls.
    n_updates : int
        Updates since `set_optimizer`.
    running : ndarray
        Running statistics of the batch_norm steps and numbers of the scaling steps, in their order:
        means, then variances or scales.
    pending : bool
        Scaling steps may be without numbers; `Network` looks.
    draws : tuple of int, or None
        The seed of the random numbers, and how many training steps and predictions have drawn, if
        any step does.
    isa : str
        "reference", where the C engine names its instruction set.

    Notes
    -----
    Arrays are expected as `Network` makes them: checked, of the right dtype, C-contiguous. X is
    (M, n_in); y is (M, n_out), or for cross_entropy also int64 labels, (M,). Overflow raises no
    warnings: a run that diverges shows it in a loss that is not finite. `n_threads` is there for
    the C engine's sake: threads are NumPy's business here. Where the last of several steps is a
    scaling, the loss is taken before it, and the targets go back through it.

    Examples
    --------
    >>> import numpy as np
    >>> from nncore import Dense
    >>> engine = ReferenceEngine(Dense(1).lower(2, 0), 3, "mse", np.float64)  # theta: W, then b
    >>> engine.set_optimizer("sgd", (0.1,))
    >>> X, y = np.array([[1.0, 2.0]]), np.array([[3.0]])
    >>> float(engine.train(X, y, None, 1)[0]), engine.theta.round(2).tolist()
    (9.0, [0.6, 1.2, 0.6])
    """

    isa = "reference"

    def __init__(self, steps: Sequence[Any], n_params: int, loss: Any, dtype: Any) -> None:
        self._given, self._given_loss = list(steps), loss
        scaled = len(self._given) > 1 and self._given[-1].kind == "scaling"
        self._steps = self._given[:-1] if scaled else self._given
        self._loss, self._loss_hyper = loss_of(loss)
        kinds = {step.kind for step in self._steps}
        self.pending = scaled or "scaling" in kinds
        if kinds - {"dense", *reference_steps.STEPS}:
            raise ValueError(f"{sorted(kinds)} are not all kinds of steps")
        self._is_dense = kinds == {"dense"}
        self._draws = not kinds.isdisjoint({"dropout", "noise"})
        self._samples = any(step.kind == "dropout" and step.values[1] for step in self._steps)
        self._mode, self._trained, self._predicted = reference_steps.Mode(), 0, 0
        wide = sum(2 * s.n_out for s in self._given if s.kind in ("batch_norm", "scaling"))
        self.running = np.zeros(wide, dtype)
        if not _contains(self._loss.link, self._steps[-1]):
            raise ValueError(f"loss {loss!r} needs a {self._loss.link} output")
        self.theta = np.zeros(n_params, dtype)
        self._gradient = np.zeros_like(self.theta)
        self._move = np.empty_like(self.theta)
        self._output = None
        if scaled:
            of = SimpleNamespace(
                mode=self._mode, theta=self.theta, gradient=self._gradient, running=self.running,
                place_running=lambda n: self.running.size - n,
            )  # fmt: skip
            self._output = reference_steps.Scaling(self._given[-1], len(self._steps), of)
        self._buffers, self._capacity = self._allocate(0), 0
        self._passes: dict[int, _Pass] = {}
        self.set_optimizer("sgd", tuple(OPTIMIZERS["sgd"].hyper.values()))
        self.set_tuning(None)

    def again(
        self,
        loss: Any = None,
        dtype: Any = None,
        theta: np.ndarray | None = None,
        of_loss: bool = False,
    ) -> "ReferenceEngine":
        """Return an engine of the same steps, with a copy of these parameters or of `theta`.

        of_loss: without a scaling at the end.
        """
        steps = self._steps if of_loss else self._given
        engine = ReferenceEngine(
            steps, self.theta.size, loss or self._given_loss, dtype or self.theta.dtype
        )
        engine.theta[:] = self.theta if theta is None else theta
        engine.set_tuning(self._tuning)
        engine.running[:] = self.running[: engine.running.size]
        return engine

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Return y as the loss takes it."""
        return y if self._output is None else self._output.invert(y)

    def set_optimizer(self, name: str, hyper: Sequence[float]) -> None:
        """Train with this rule from now on; `hyper` in the order of `OPTIMIZERS[name].hyper`."""
        n_vectors, _, self._update = OPTIMIZERS[name]
        self.rule, self.hyper = name, tuple(hyper)
        self.state = np.zeros((n_vectors, self.theta.size), self.theta.dtype)
        self.n_updates = self.averaged = 0
        self.average: np.ndarray | None = None
        self.set_options()

    def set_options(
        self, decay: float = 0.0, clip_norm: float = 0.0, clip_value: float = 0.0, ema: float = 0.0
    ) -> None:
        """Set what goes with any rule, 0 is nothing.

        decay       W -= lr decay W before each update, lr being that of the step; of dense steps
        clip_norm   a gradient with a larger norm, of all that is trained, is scaled to it
        clip_value  elements of the gradient are limited to +- this
        ema         average = ema average + (1 - ema) theta after each update, theta after the first
        """
        self.decay, self.clip_norm, self.clip_value, self.ema = decay, clip_norm, clip_value, ema
        if ema > 0:
            self.keep_average()

    def keep_average(self) -> None:
        """Make `average`, zero at first, if there is none; `averaged` counts what is in it."""
        if self.average is None:
            self.average, self.averaged = np.zeros_like(self.theta), 0

    def forget_average(self) -> None:
        """Keep no average until there is one again."""
        self.average, self.averaged = None, 0

    def set_tuning(self, tuning: Sequence[Any] | None) -> None:
        """Train each step in its own way, or all alike if it is None.

        Each has `trainable`; `lr_scale`, which multiplies lr; `l1` and `l2`, for the penalty
        l1 sum |w| + l2 / 2 sum w^2 of W in the loss; and `max_norm`, if not 0 the largest norm of a
        column of W after an update.
        """
        self._tuning = tuning and tuning[: len(self._steps)]

    @property
    def draws(self) -> tuple[int, int, int] | None:
        return (self._mode.seed, self._trained, self._predicted) if self._draws else None

    @draws.setter
    def draws(self, values: tuple[int, int, int]) -> None:
        self._mode.seed, self._trained, self._predicted = values

    @np.errstate(all="ignore")
    def predict(
        self, X: np.ndarray, out: np.ndarray, n_threads: int = 0, sample: bool = False
    ) -> None:
        """Write the outputs of the network for X to out, (M, n_out).

        sample: what is random in predictions is drawn, anew in each call.
        """
        self._mode.sample, self._mode.number = sample, self._predicted
        self._predicted += sample and self._samples
        try:
            for rows, work in self._blocks(len(X)):
                out[rows] = work.predict(X[rows])
                if self._output is not None:
                    self._output.forward(out[rows].copy(), out[rows])
        finally:
            self._mode.sample = False

    @np.errstate(all="ignore")
    def loss(
        self,
        X: np.ndarray,
        y: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        counts: np.ndarray | None = None,
        so_far: np.ndarray | None = None,
    ) -> float:
        """Return the mean loss over all rows, with the penalties; at theta, if given.

        counts: as in `train`. so_far: the sum and the weight of rows before these, which belong to
        the same mean; these rows are added.
        """
        if theta is not None:
            return self.again(theta=theta).loss(X, y, weights=weights, counts=counts)
        y, total = self._targets(y), _total(X, weights, counts)
        value = 0.0
        if total:
            value = sum(
                work.loss(X[rows], y[rows], total, _part(weights, rows), counts is not None)
                for rows, work in self._blocks(len(X))
            )
        if so_far is not None:
            so_far += value * total, total
            total = so_far[1]
            value = float(so_far[0] / total) if total else 0.0
        return value + self._penalty() if total else 0.0

    @np.errstate(all="ignore")
    def loss_and_gradient(
        self,
        X: np.ndarray,
        y: np.ndarray,
        gradient: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> float:
        """Return the same; write its gradient, of all parameters, to gradient, (n_params,)."""
        if theta is not None:
            return self.again(theta=theta).loss_and_gradient(X, y, gradient, weights=weights)
        y = self._targets(y)
        total = len(X) if weights is None else weights.sum()
        value = 0.0
        gradient[:] = 0
        if not total:
            return value
        for rows, work in self._blocks(len(X)):
            w = None if weights is None else weights[rows]
            value += work.loss(X[rows], y[rows], total, w)
            work.backward(X[rows])
            gradient += self._gradient
        self._add_penalty_gradient(gradient)
        return value + self._penalty()

    @np.errstate(all="ignore")
    def input_gradient(
        self,
        X: np.ndarray,
        y: np.ndarray,
        dx: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> float:
        """Return the mean loss over all rows; write its gradient by X to dx, (M, n_in)."""
        if theta is not None:
            return self.again(theta=theta).input_gradient(X, y, dx, weights=weights)
        y = self._targets(y)
        total = len(X) if weights is None else weights.sum()
        value = 0.0
        for rows, work in self._blocks(len(X)):
            w = None if weights is None else weights[rows]
            value += work.loss(X[rows], y[rows], total, w)
            work.backward(X[rows])
            work.input_gradient(dx[rows])
        return value + self._penalty()

    @np.errstate(all="ignore")
    def landscape(
        self,
        X: np.ndarray,
        y: np.ndarray,
        center: np.ndarray,
        u: np.ndarray,
        v: np.ndarray,
        a: np.ndarray,
        b: np.ndarray,
        n_threads: int = 0,
        weights: np.ndarray | None = None,
        report: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Return losses[i, j], of theta = center + a[i] u + b[j] v, worked out in float64.

        report(done) is called with the number of points that are done.
        """
        engine, losses = self.again(), np.empty((len(a), len(b)))
        for i, j in np.ndindex(losses.shape):
            engine.theta[:] = center + a[i] * u + b[j] * v
            losses[i, j] = engine.loss(X, y, weights=weights)
            if report is not None:
                report(i * len(b) + j + 1)
        return losses

    @np.errstate(all="ignore")
    def train(
        self, X: np.ndarray, y: np.ndarray, order: np.ndarray | None, batch_size: int,
        n_threads: int = 0, weights: np.ndarray | None = None, rates: np.ndarray | None = None,
        counts: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Update theta once per batch; return the loss of each batch before its update.

        Batches are consecutive slices of `order`, int64 row numbers, or of all rows in turn if it
        is None; the last may be shorter. If a loss is not finite, training stops before the update
        and this loss is the last one returned. A batch whose weights are all 0 is left out, with
        loss 0. `rates`: the learning rates of the updates, in place of the first hyper-parameter.
        `counts`: what each row counts in the mean, where targets that are NaN are missing.
        """
        y, n_rows = self._targets(y), len(X) if order is None else len(order)
        losses = np.empty(-(-n_rows // batch_size))
        self._mode.training, self._mode.first = True, 0
        try:
            return self._train(X, y, order, batch_size, n_rows, losses, weights, rates, counts)
        finally:
            self._mode.training = False

    def _train(
        self,
        X: np.ndarray,
        y: np.ndarray,
        order: np.ndarray | None,
        batch_size: int,
        n_rows: int,
        losses: np.ndarray,
        weights: np.ndarray | None,
        rates: np.ndarray | None,
        counts: np.ndarray | None,
    ) -> np.ndarray:
        before = self.n_updates + 1
        for i in range(len(losses)):
            self._mode.number = self._trained
            rows = slice(i * batch_size, min((i + 1) * batch_size, n_rows))
            work = self._pass(rows.stop - rows.start)
            x, t = (X[rows], y[rows]) if order is None else work.gather(X, y, order[rows])
            pick = rows if order is None else order[rows]
            w = _part(weights, pick)
            total = _total(x, w, _part(counts, pick))
            if total == 0:
                losses[i] = 0
                continue
            losses[i] = loss = work.loss(x, t, total, w, counts is not None) + self._penalty()
            if not math.isfinite(loss):
                return losses[: i + 1]
            work.backward(x)
            self.n_updates += 1
            self._step(self.hyper[0] if rates is None else float(rates[self.n_updates - before]))
            if self.average is not None and self.ema > 0:
                keep = self.ema if self.averaged else 0.0
                self.average += (1 - keep) * (self.theta - self.average)
                self.averaged += 1
            self._trained += 1
            work.settle()
        return losses

    def _step(self, lr: float) -> None:
        """Update theta by the gradient: all at once, or each step in its own way."""
        theta, g, hyper = self.theta, self._gradient, self.hyper[1:]
        if not (self._tuning or self.decay or self.clip_norm or self.clip_value):
            self._update(theta, g, self.state, self._move, self.n_updates, lr, *hyper)
            return
        self._add_penalty_gradient(g)
        trained = [(step, how) for step, how in self._tuned() if how is None or how.trainable]
        if self.clip_value:
            np.clip(g, -self.clip_value, self.clip_value, out=g)
        if self.clip_norm:
            parts = [g[part] for step, _ in trained for part in _places(step)]
            norm = math.sqrt(sum(float(np.sum(np.square(p, dtype=np.float64))) for p in parts))
            if norm > self.clip_norm:
                g *= self.clip_norm / norm
        for step, how in trained:
            rate = lr if how is None else lr * how.lr_scale
            if step.kind == "dense" and self.decay:
                W, _ = _parameters(step, theta)
                W *= 1 - rate * self.decay
            for part in _places(step):
                self._update(
                    theta[part], g[part], self.state[:, part], self._move[part], self.n_updates,
                    rate, *hyper,
                )  # fmt: skip
            if how is not None and how.max_norm:
                W, _ = _parameters(step, theta)
                norms = np.sqrt(np.sum(np.square(W, dtype=np.float64), axis=0))
                W *= how.max_norm / np.maximum(norms, how.max_norm)

    def _tuned(self) -> Iterator[tuple[Any, Any]]:
        return zip(self._steps, self._tuning or [None] * len(self._steps), strict=True)

    def _penalty(self) -> float:
        value = 0.0
        for step, how in self._tuned():
            if how is not None and (how.l1 or how.l2):
                W = _parameters(step, self.theta)[0].astype(np.float64)
                value += how.l1 * np.abs(W).sum() + how.l2 / 2 * np.square(W).sum()
        return float(value)

    def _add_penalty_gradient(self, gradient: np.ndarray) -> None:
        for step, how in self._tuned():
            if how is not None and (how.l1 or how.l2):
                W, dW = _parameters(step, self.theta)[0], _parameters(step, gradient)[0]
                dW += how.l1 * np.sign(W) + how.l2 * W

    def _blocks(self, n_rows: int) -> Iterator[tuple[slice, "_Pass"]]:
        for start in range(0, n_rows, BLOCK):
            stop = min(start + BLOCK, n_rows)
            self._mode.first = start
            yield slice(start, stop), self._pass(stop - start)

    def _pass(self, n_rows: int) -> "_Pass":
        """Return the prepared pass over n_rows rows; those of all sizes share the same buffers."""
        if n_rows > self._capacity:
            self._buffers, self._capacity, self._passes = self._allocate(n_rows), n_rows, {}
        if n_rows not in self._passes:
            self._passes[n_rows] = (_Pass if self._is_dense else _MixedPass)(self, n_rows)
        return self._passes[n_rows]

    def _allocate(self, n_rows: int) -> tuple[tuple[np.ndarray, ...], list[tuple[np.ndarray, ...]]]:
        """Return the arrays for a gathered batch (X, y or labels), and z, y, delta of each step."""
        first, last, dtype = self._steps[0], self._steps[-1], self.theta.dtype
        n_targets = last.n_out // self._loss.per_target
        batch = [np.empty((n_rows, n), dtype) for n in (first.n_in, n_targets)]
        arrays: list[tuple[np.ndarray, ...]] = []
        for step in self._steps:
            z, delta = (np.empty((n_rows, step.n_out), dtype) for _ in range(2))
            # In place, unless the backward pass needs the pre-activation.
            arrays.append((z, np.empty_like(z) if _activation(step).keeps == "X" else z, delta))
        return (*batch, np.empty(n_rows, np.int64)), arrays


class _Pass:
    """The forward and backward pass over a fixed number of rows.

    All views are made here, once: the steps of small networks are so short that making them anew
    in each of them would be felt.
    """

    _link: Callable[..., np.ndarray] | None

    def __init__(self, engine: ReferenceEngine, n_rows: int) -> None:
        batch, arrays = engine._buffers
        self._x, self._y, self._labels = (a[:n_rows] for a in batch)
        self._ones = np.ones(n_rows, engine.theta.dtype)
        self._loss, self._hyper, self._link = engine._loss.run, engine._loss_hyper, None
        self._by_rows = engine._loss.by_rows
        self._forward: list[tuple[Any, ...]] = []
        self._backward: list[tuple[Any, ...]] = []
        x_T = delta_below = None
        for step, of_step in zip(engine._steps, arrays, strict=True):
            z, y, delta = (a[:n_rows] for a in of_step)
            W, b = _parameters(step, engine.theta)
            dW, db = _parameters(step, engine._gradient)
            function = _activation(step)
            if engine._loss.link and step is engine._steps[-1]:
                self._link = function.f  # the loss contains it, so only `predict` applies it
            plain = function.keeps == "NONE" or self._link
            f, slope = (None, None) if plain else (function.f, function.backward)
            self._forward.append((W, b, z, y, delta, f))
            kept = z if function.keeps == "X" else y
            self._backward.insert(0, (slope, kept, delta, x_T, dW, db, W.T, delta_below))
            x_T, delta_below = y.T, delta
        self._delta = delta

    def gather(
        self, X: np.ndarray, y: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return these rows of X and y, in the buffers."""
        # In the default mode, "raise", NumPy would gather into a temporary array first.
        to = self._labels if y.ndim == 1 else self._y
        return X.take(rows, 0, self._x, "clip"), y.take(rows, 0, to, "clip")

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs or, if the loss has a link, the scores."""
        for W, b, z, y, scratch, f in self._forward:
            np.dot(x, W, out=z)
            if b is not None:
                np.add(z, b, out=z)
            if f is not None:
                f(z, y, scratch)
            x = y
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs."""
        y = self.forward(x)
        return self._link(y, y, self._delta) if self._link else y

    def loss(
        self,
        x: np.ndarray,
        t: np.ndarray,
        rows: float,
        w: np.ndarray | None = None,
        masked: bool = False,
    ) -> float:
        """Return the share of x in the mean loss over `rows` rows, ready for `backward`.

        masked: targets that are NaN are missing; then it is a mean over `rows` of what is not.
        """
        if masked:  # a weight for each element
            there = ~np.isnan(t)
            t = np.where(there, t, 0)
            each = 1 if self._by_rows else t.shape[1]
            w, rows = there * (each / rows if w is None else (w * (each / rows))[:, None]), 1.0
        elif w is not None:  # so that they are numbers of any dtype
            w, rows = w / rows, 1.0
        return self._loss(self.forward(x), t, rows, self._delta, w, *self._hyper)

    def backward(self, x: np.ndarray) -> None:
        """Write the gradient of the last `loss`, which was of x, to the vector of the engine."""
        for slope, kept, delta, x_T, dW, db, W_T, delta_below in self._backward:
            if slope is not None:
                slope(kept, delta)
            np.dot(x.T if x_T is None else x_T, delta, out=dW)
            if db is not None:
                np.dot(self._ones, delta, out=db)
            if delta_below is not None:
                np.dot(delta, W_T, out=delta_below)

    def input_gradient(self, dx: np.ndarray) -> None:
        """Write to dx, (n_rows, n_in), what `backward` has found for the inputs."""
        _, _, delta, _, _, _, W_T, _ = self._backward[-1]
        np.dot(delta, W_T, out=dx)

    def settle(self) -> None:
        """After an update: nothing but parameters has changed."""


class _MixedPass(_Pass):
    """The same for steps of all kinds."""

    def __init__(self, engine: ReferenceEngine, n_rows: int) -> None:
        self.mode, self.theta, self.gradient = engine._mode, engine.theta, engine._gradient
        self.running, self._running_at = engine.running, 0
        self.made: list[Any] = []
        batch, arrays = engine._buffers
        self._x, self._y, self._labels = (a[:n_rows] for a in batch)
        self._dx = np.empty((n_rows, engine._steps[0].n_in), self.theta.dtype)
        self._loss, self._hyper, self._link = engine._loss.run, engine._loss_hyper, None
        self._by_rows = engine._loss.by_rows
        self._steps: list[tuple[Any, np.ndarray, np.ndarray]] = []
        for place, (step, of_step) in enumerate(zip(engine._steps, arrays, strict=True)):
            _, y, delta = (a[:n_rows] for a in of_step)
            if step.kind == "dense":
                last = place == len(engine._steps) - 1 and engine._loss.link
                self._link = _activation(step).f if last else None
                run: Any = _Dense(step, self.theta, self.gradient, of_step, n_rows, fused=last)
            else:
                run = reference_steps.STEPS[step.kind](step, place, self)
            self.made.append(run)
            self._steps.append((run, y, delta))
        self._delta = delta

    def place_running(self, n: int) -> int:
        """Return where the next n numbers of the running statistics are."""
        self._running_at += n
        return self._running_at - n

    def forward(self, x: np.ndarray) -> np.ndarray:
        for run, y, _ in self._steps:
            run.forward(x, y)
            x = y
        return x

    def backward(self, x: np.ndarray) -> None:
        below = [(x, self._dx), *((y, delta) for _, y, delta in self._steps[:-1])]
        for (run, y, delta), (inputs, dx) in zip(self._steps[::-1], below[::-1], strict=True):
            run.backward(inputs, y, delta, dx)

    def input_gradient(self, dx: np.ndarray) -> None:
        dx[...] = self._dx

    def settle(self) -> None:
        for run in self.made:
            run.settle()


class _Dense:
    """A dense step by itself, with the interface of those in `reference.steps`."""

    def __init__(
        self,
        step: Any,
        theta: np.ndarray,
        gradient: np.ndarray,
        arrays: tuple[np.ndarray, ...],
        n_rows: int,
        fused: Any,
    ) -> None:
        self.W, self.b = _parameters(step, theta)
        self.dW, self.db = _parameters(step, gradient)
        self.z, self.y, self.scratch = (a[:n_rows] for a in arrays)
        self.activation = ACTIVATIONS["identity"] if fused else _activation(step)

    def forward(self, x: np.ndarray, y: np.ndarray) -> None:
        np.dot(x, self.W, out=self.z)
        if self.b is not None:
            self.z += self.b
        if self.activation.keeps != "NONE":
            self.activation.f(self.z, y, self.scratch)

    def backward(self, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray | None) -> None:
        if self.activation.keeps != "NONE":
            self.activation.backward(self.z if self.activation.keeps == "X" else y, dy)
        np.dot(x.T, dy, out=self.dW)
        if self.db is not None:
            np.sum(dy, axis=0, out=self.db)
        if dx is not None:
            np.dot(dy, self.W.T, out=dx)

    def settle(self) -> None:
        pass


def _part(values: np.ndarray | None, rows: Any) -> np.ndarray | None:
    return None if values is None else values[rows]


def _total(X: np.ndarray, weights: np.ndarray | None, counts: np.ndarray | None) -> float:
    """The sum of what the rows of X count in a mean."""
    of_row = weights if counts is None else counts
    return len(X) if of_row is None else of_row.sum()


def _activation(step: Any) -> Activation:
    if step.activation in ("softmax", "log_softmax"):
        return SOFTMAX if step.activation == "softmax" else LOG_SOFTMAX
    return ACTIVATIONS[step.activation].with_parameters(step.parameters)


def _contains(link: str | None, step: Any) -> bool:
    """Whether a loss with this link knows what the step makes of its scores."""
    if link == "softmax":
        return step.activation in ("softmax", "log_softmax")
    return link is None or (step.activation == link and _activation(step) is ACTIVATIONS[link])


def _places(step: Any) -> list[slice]:
    """Return where the parameters of a step are in a flat vector."""
    if step.w < 0:
        return []
    size = step.n_in * step.n_out if step.kind == "dense" else step.other or step.n_out
    places = [slice(step.w, step.w + size)]
    return places if step.b < 0 else [*places, slice(step.b, step.b + step.n_out)]


def _parameters(step: Any, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the views W (n_in, n_out) and b (n_out,), or None, of a step into a flat vector."""
    W = flat[step.w : step.w + step.n_in * step.n_out].reshape(step.n_in, step.n_out)
    return W, None if step.b < 0 else flat[step.b : step.b + step.n_out]
