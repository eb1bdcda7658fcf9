"""Any smooth function, minimised by the trainers of networks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .base import Stuck, Trainer
from .problem import Function, norm


class Result(NamedTuple):
    """Where `minimize` ended.

    ``gradient_norm`` is the 2-norm of the gradient at x, ``evaluations`` how often the function was
    called. ``stop_reason`` is "gradient", "value", "iterations", "minimum" (no step reduces the
    value any more), or "not_finite" (the value or the gradient is not, at x).
    """

    x: np.ndarray
    value: float
    gradient_norm: float
    iterations: int
    evaluations: int
    stop_reason: str


def minimize(
    function: "Callable[[np.ndarray], tuple[float, ArrayLike]]",
    x: "ArrayLike",
    optimizer: str | Trainer = "lbfgs",
    *,
    iterations: int = 1000,
    gradient: float = 1e-8,
    value: float | None = None,
    seed: int = 0,
) -> Result:
    """Minimise a function with one of the trainers.

    Parameters
    ----------
    function : callable
        ``function(x) -> (value, gradient)`` for a float64 vector x, which it must not change.
    x : array_like, shape (n,)
        Where to start.
    optimizer : str or Trainer, default "lbfgs"
        A full-batch trainer: a name that `nncore.Network` knows, an object of `nncore.trainers`, or
        one of your own. Not those for sums of squares, "lm" and "bayesian".
    iterations : int, default 1000
    gradient : float, default 1e-8
        Done when the 2-norm of the gradient is at most this.
    value : float, optional
        Done when the value is at most this.
    seed : int, default 0
        Of what a trainer draws.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        For an optimizer that needs batches or a sum of squares, or a gradient of another length.
    FloatingPointError
        If the value or the gradient at the start is not finite.

    Examples
    --------
    >>> import nncore
    >>> def rosenbrock(x):
    ...     a, b = 1 - x[0], x[1] - x[0] ** 2
    ...     return a**2 + 100 * b**2, [-2 * a - 400 * x[0] * b, 200 * b]
    >>> result = nncore.minimize(rosenbrock, [-1.2, 1.0], "bfgs")
    >>> result.x.round(6), result.stop_reason
    (array([1., 1.]), 'gradient')
    """
    from . import as_trainer

    try:
        trainer = optimizer if isinstance(optimizer, Trainer) else as_trainer(optimizer)
    except ValueError as error:
        if isinstance(optimizer, type):
            raise
        raise ValueError(
            f"{error} Only such full-batch trainers minimise a function, by name or as objects "
            'such as nncore.LBFGS(); "adam" and its like need the batches of a Network.'
        ) from None
    x = np.array(x, np.float64)
    if x.ndim != 1:
        raise ValueError(f"x must be a vector, got shape {x.shape}")
    problem = Function(function, len(x))
    point = problem.at(x)
    if not point.is_finite():
        raise FloatingPointError(f"the function is {point.loss} at the start, or its gradient is")
    memory = trainer.begin(problem, point, np.random.default_rng(seed))
    reason, done = "iterations", 0
    while done < iterations:
        if norm(point.gradient) <= gradient or (value is not None and point.loss <= value):
            reason = "gradient" if norm(point.gradient) <= gradient else "value"
            break
        try:
            point, memory = trainer.iterate(problem, point, memory)
        except Stuck as stuck:
            reason = str(stuck)
            break
        done += 1
        if not point.is_finite():
            reason = "not_finite"
            break
    return Result(point.theta, point.loss, norm(point.gradient), done, problem.evaluations, reason)
