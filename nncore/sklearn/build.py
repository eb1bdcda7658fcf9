"""The network and the optimizer that an estimator's parameters describe."""

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import names
from ..activation import Activation
from ..initializer import Initializer
from ..layers import Dense, Dropout, Layer
from ..layers.base import copy_into
from ..loss import Loss
from ..network import Network, check_layers
from ..optimizers import SGD, Adam, as_optimizer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import BaseMLP


def hidden_sizes(estimator: "BaseMLP") -> list[int]:
    """Return the numbers of hidden units as a list."""
    sizes = estimator.hidden_layer_sizes
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if any(n <= 0 for n in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    if not all(hasattr(n, "__index__") for n in sizes):
        raise ValueError(f"hidden_layer_sizes must be integers, got {sizes}.")
    return sizes


def make_network(
    estimator: "BaseMLP", n_in: int, n_out: int, output: str, loss: Loss, dtype: Any,
    rng: "np.random.RandomState",
) -> Network:  # fmt: skip
    """Return a network that starts as scikit-learn's does, or as ``init`` says.

    output : the last activation.
    rng : a `RandomState`, from which scikit-learn's numbers are drawn in its order.
    """
    sizes = hidden_sizes(estimator)
    hidden = _for_each(estimator.activation, (str, Activation), len(sizes), "activation")
    for function in hidden:
        if getattr(function, "name", function) in names.WHOLE_ROW:
            raise ValueError(
                f"activation={estimator.activation!r}: {function} is for outputs, and those of a "
                'classifier have it anyway. Use "relu", "tanh" or "logistic" in hidden layers.'
            )
    rates = _for_each(estimator.dropout, (int, float), len(sizes), "dropout")
    widths = [n_in, *sizes, n_out]
    activations = [*hidden, output]
    init = estimator.init
    named = isinstance(init, (str, Initializer)) or callable(init)
    layers: list[Layer] = []
    for n, activation, rate in zip(widths[1:], activations, [*rates, 0], strict=True):
        layers.append(Dense(n, activation, init=init if named else "zeros"))
        if rate:
            layers.append(Dropout(rate))
    check_layers(layers)
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    values = None
    if init is None:
        under = [layer.activation for layer in [*dense[:-1], *dense[-2:-1]]]
        if not under:  # no hidden layers, and yet scikit-learn looks at their activation
            under = ["sigmoid" if estimator.activation in ("logistic", "sigmoid") else "identity"]
        values = _start(widths, under, rng)
    elif not named:
        values = _given(init, widths)
    drawn = named or any(rates)  # otherwise scikit-learn's numbers are all that is drawn
    seed = int(rng.randint(np.iinfo(np.int32).max)) if drawn else 0
    network = Network.__new__(Network)  # linear layers are no mistake here, so nobody is warned
    network._build(n_in, layers, loss, "sgd", dtype, seed, "auto")
    if values is not None:
        for i, (layer, (W, b)) in enumerate(zip(dense_layers(network), values, strict=True)):
            copy_into(layer.W, W, f"init[{i}]")
            if layer.b is not None:
                copy_into(layer.b, b, f"init[{i + len(dense)}]")
    return network


def dense_layers(network: Network) -> list[Dense]:
    return [layer for layer in network.layers if isinstance(layer, Dense)]


def _for_each(value: Any, one: tuple[type, ...], n: int, name: str) -> list[Any]:
    """A value for each hidden layer, of one value or a list of them."""
    if isinstance(value, one):
        return [value] * n
    values = list(value)
    if len(values) != n:
        raise ValueError(
            f"{name} has {len(values)} values; expected one for each of the {n} hidden layers "
            "(the output layer has none), or one for all."
        )
    return values


def _start(
    widths: list[int], under: list[Any], rng: "np.random.RandomState"
) -> Iterable[tuple[Any, Any]]:
    """W and b of each layer as scikit-learn draws them (Glorot and Bengio 2010)."""
    values = []
    for n_in, n_out, activation in zip(widths[:-1], widths[1:], under, strict=True):
        bound = np.sqrt((2.0 if activation == "sigmoid" else 6.0) / (n_in + n_out))
        W = rng.uniform(-bound, bound, (n_in, n_out))
        values.append((W, rng.uniform(-bound, bound, n_out)))
    return values


def _given(init: Any, widths: list[int]) -> Iterable[tuple[Any, Any]]:
    arrays, n = list(init), len(widths) - 1
    if len(arrays) == n:
        arrays += [0.0] * n
    if len(arrays) != 2 * n:
        raise ValueError(
            f"init has {len(arrays)} arrays; expected the {n} of coefs_, or the {2 * n} of "
            "coefs_ + intercepts_."
        )
    return zip(arrays[:n], arrays[n:], strict=True)


def make_optimizer(estimator: "BaseMLP") -> Any:
    """Return the optimizer that ``solver`` names or is."""
    e, solver = estimator, estimator.solver
    if solver == "sgd":
        nesterov = bool(e.nesterovs_momentum) and e.momentum > 0
        return SGD(e.learning_rate_init, e.momentum, nesterov, style="sklearn")
    if solver == "adam":
        return Adam(e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon, style="sklearn")
    optimizer = as_optimizer(solver)
    if not isinstance(solver, str):
        return copy.deepcopy(optimizer)  # training may change it
    if not optimizer.full_batch:
        optimizer.lr = e.learning_rate_init
    return optimizer


def check_solver(estimator: "BaseMLP", network: Network) -> None:
    """Raise where other parameters do not go with a solver of all rows, and name them."""
    from ..trainers.least_squares import BayesianRegularization, LevenbergMarquardt  # seldom used

    solver, optimizer = f"solver={estimator.solver!r}", network.optimizer
    if network._engine.draws:
        raise ValueError(f'dropout needs a solver that takes batches, such as "adam", not {solver}')
    squares = isinstance(optimizer, LevenbergMarquardt)
    if squares and network.loss.name not in ("mse", "half_mse"):
        raise ValueError(f'{solver} needs loss="squared_error"; other losses: "scg" or "lbfgs"')
    if isinstance(optimizer, BayesianRegularization) and estimator.alpha > 0:
        raise ValueError(f"{solver} finds the penalty itself: set alpha=0")


def is_stochastic(solver: Any) -> bool:
    """Whether a solver takes batches. It may be no solver at all."""
    try:
        return not as_optimizer(solver).full_batch
    except (TypeError, ValueError):
        return False
