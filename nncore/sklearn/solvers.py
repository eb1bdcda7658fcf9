"""What trains a network for an estimator: epochs of batches, a full-batch trainer, L-BFGS-B."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..history import History
from ..network import Network
from ..weights import sums_of_batches
from .build import dense_layers
from .data import Samples

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class Solver:
    """Trains on `samples`."""

    def __init__(self, network: Network, samples: Samples, alpha: float, n_threads: int):
        self.network, self.samples = network, samples
        self.alpha, self.n_threads = alpha, n_threads
        self.history = History()
        self._penalised: float | None = None

    def penalise(self, weight: float) -> None:
        """Let the penalty be ``alpha / (2 weight)`` times the sum of all squared weights."""
        if weight != self._penalised:
            for layer in dense_layers(self.network):
                layer.l2 = self.alpha / weight
            self.network._tune()
            self._penalised = weight

    def plain_loss(self, samples: Samples) -> float:
        """Return the mean loss over other samples, without the penalty."""
        engine, sum_of_losses = self.network._engine, 0.0
        engine.set_tuning(None)
        self._penalised = None
        for X, y, w in samples.blocks(self.network):
            weight = len(X) if w is None else w.sum()
            sum_of_losses += weight * engine.loss(X, y, self.n_threads, weights=w)
        return float(sum_of_losses / samples.weight()) + samples.constant_mean()


class Stochastic(Solver):
    """An epoch is a pass over the rows in batches, as few calls of the engine as can be.

    order : the rows to train on.
    most : what a larger loss of an output or row counts as in what is reported; 0: as itself.
    """

    def __init__(self, order: np.ndarray, *arguments: Any, batch_size: int, most: float):
        super().__init__(*arguments)
        self.order, self.batch_size, self.most = order, batch_size, most
        self.network._refresh_optimizer()
        self.learning_rate: float = self.network.optimizer.lr
        self._rows = sums_of_batches(None, None, batch_size, len(self.order))
        self._sums, self._runs = self._cut()

    def _cut(self) -> tuple[np.ndarray, list[slice]]:
        return self.samples.cuts(self.order, self.batch_size, self.alpha > 0)

    def set_rate(self, rate: float) -> None:
        self.learning_rate = self.network.optimizer.lr = rate
        self.network._engine.hyper = self.network.optimizer.hyper

    def shuffle(self, rng: "np.random.RandomState") -> None:
        """Put the rows in another order, by scikit-learn's numbers."""
        places = np.arange(len(self.order))
        rng.shuffle(places)
        self.order = self.order[places]
        if self.samples.weights is not None:
            self._sums, self._runs = self._cut()

    def epoch(self) -> float:
        """Return the mean loss of the batches, each before its update and weighted by its rows.

        It is not finite if that of a batch was not, and then this batch changed nothing.
        """
        network, size, samples = self.network, self.batch_size, self.samples
        rates = network._rates(len(self._rows))
        losses = np.zeros(len(self._rows))
        for run in self._runs:
            weight = self._sums[run.start]
            self.penalise(weight if weight > 0 else 1.0)
            X, y, index, weights = samples.at(self.order[run.start * size : run.stop * size])
            some = network._engine.train(
                X, y, index, size, self.n_threads, weights,
                None if rates is None else rates[run], most=self.most,
            )  # fmt: skip
            if not math.isfinite(some[-1]):
                return float(some[-1])
            losses[run] = some
        losses += samples.constants(self.order, size)
        rows = self._rows * (self._sums > 0)  # batches of weight 0 have no loss
        return float(losses @ rows / rows.sum())

    def end_epoch(self) -> None:
        self.network._end_epoch(self.history)

    @property
    def is_over(self) -> bool:
        return False


class FullBatch(Solver):
    """An epoch is an iteration of a trainer of `nncore.trainers`, with all rows of `order`."""

    def __init__(self, order: np.ndarray, *arguments: Any):
        super().__init__(*arguments)
        self.order = order
        if self.samples.is_sparse:
            raise ValueError(
                f"{type(self.network.optimizer).__name__} takes all rows as one matrix, and X is "
                'sparse: use X.toarray(), or "lbfgs", "adam" or "sgd", which take a block at a time'
            )
        some = self.samples
        some = some if len(self.order) == len(some) else some.take(self.order)
        self.penalise(some.weight())
        self._constant = some.constant_mean()
        X, y, w = some.X, some.y, some.weights
        self._course: Any = self.network._start_course(X, y, w, self.n_threads, self.history)
        self._weight = some.weight()

    def epoch(self) -> float:
        self.penalise(self._weight)
        try:
            return float(self._course.advance(None)["loss"]) + self._constant
        except FloatingPointError:
            return math.nan

    def end_epoch(self) -> None:
        self.network._end_epoch(self.history)

    @property
    def is_over(self) -> bool:
        """Whether no step lowers the loss any more."""
        return self.history.stop_reason != "epochs"


class _Stop(Exception):
    """A callback said so."""


class LBFGS(Solver):
    """SciPy's L-BFGS-B with scikit-learn's options, in float64.

    Its line search needs more digits than a float32 loss has. The parameters of a float32 network
    are those of a float64 one, rounded at the end.
    """

    def __init__(self, network: Network, samples: Samples, alpha: float, n_threads: int):
        if network.dtype == np.float64:
            wide = network
        else:
            wide = Network.__new__(Network)
            wide._build(
                network.n_in, network.layers, network.loss, "sgd", "float64", 0, network._backend
            )  # fmt: skip
            wide.theta = network.theta
            y = samples.y if samples.y.ndim == 1 else samples.y.astype(np.float64)
            samples = Samples(samples.X, y, samples.weights, samples.constant)
        super().__init__(wide, samples, alpha, n_threads)
        self.narrow, self.loss = network, math.nan
        self._constant = samples.constant_mean()

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the objective and its gradient, of a flat vector laid out as ``theta``."""
        network, total = self.network, self.samples.weight()
        self.penalise(total)
        network.theta[...] = theta
        loss: float = 0.0
        gradient: Any = 0.0
        for X, y, w in self.samples.blocks(network):
            part = np.empty_like(network.theta)
            value = network._engine.loss_and_gradient(X, y, part, self.n_threads, weights=w)
            share = (len(X) if w is None else w.sum()) / total
            loss += share * value
            gradient = part if share == 1 else gradient + share * part
        self.loss = loss + self._constant
        return self.loss, gradient

    def run(
        self, max_iter: int, max_fun: int, tol: float, report: Callable[[float], bool]
    ) -> int:  # fmt: skip
        """Minimise; return the number of iterations. report(loss) says whether to stop after one.

        Ctrl-C leaves the parameters as after the last iteration.
        """
        import scipy.optimize  # slow to import

        done, best = 0, self.network.theta.copy()

        def after(x: np.ndarray) -> None:
            nonlocal done, best
            kept = x.copy()
            self.network.theta[...] = self.narrow.theta[...] = x
            over = report(self.loss)
            done, best = done + 1, kept  # at the end: before, Ctrl-C may fall
            if over:
                raise _Stop

        options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
        try:
            result = scipy.optimize.minimize(
                self.loss_and_gradient, best, method="L-BFGS-B", jac=True, callback=after,
                options=options,
            )  # fmt: skip
            best, self.loss, done = result.x, float(result.fun), min(result.nit, max_iter)
            if result.status != 0:
                message = result.message
                message = message.decode() if isinstance(message, bytes) else message
                warnings.warn(
                    f"lbfgs failed to converge after {done} iteration(s): {message}. Increase "
                    "max_iter or max_fun, or scale the data.",
                    ConvergenceWarning,
                    stacklevel=8,
                )
        except _Stop:
            pass
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=8)
        with np.errstate(over="ignore"):
            self.network.theta[...] = self.narrow.theta[...] = best
        return done
