"""Trainers that use all rows at once: conjugate gradient, quasi-Newton, Rprop, least squares.

Each is given to `Network` as its optimizer, by name or as an object; an epoch of `Network.fit` is
then one iteration with all rows. For squared errors and up to some thousand parameters begin with
"lm", otherwise with "lbfgs" or "scg"; "bayesian" finds a penalty too.

>>> import nncore
>>> nncore.Network(2, nncore.Dense(1), optimizer="trainscg", seed=0).optimizer
ScaledConjugateGradient(sigma=5e-05, lambda_=5e-07, curvature='exact')
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from .. import names
from .base import Stuck, Trainer
from .conjugate_gradient import ConjugateGradient, ScaledConjugateGradient
from .descent import GradientDescent, SteepestDescent
from .least_squares import BayesianRegularization, LevenbergMarquardt
from .minimize import Result, minimize
from .quasi_newton import BFGS, LBFGS, OneStepSecant
from .rprop import Quickprop, Rprop

TRAINERS: dict[str, type[Trainer]] = {
    kind.__name__: kind
    for kind in (
        BFGS, BayesianRegularization, ConjugateGradient, GradientDescent, LBFGS, LevenbergMarquardt,
        OneStepSecant, Quickprop, Rprop, ScaledConjugateGradient, SteepestDescent,
    )
}  # fmt: skip
"""By the names that files use."""


def _cg(beta: str, restart: str | None = None) -> Callable[[], ConjugateGradient]:
    return lambda: ConjugateGradient(beta=beta, restart=restart)


BY_NAME: dict[str, Callable[[], Trainer]] = {
    "cg": ConjugateGradient,
    "cg_fletcher_reeves": _cg("fletcher_reeves", "powell"),
    "cg_polak_ribiere": _cg("polak_ribiere"),
    "cg_hestenes_stiefel": _cg("hestenes_stiefel"),
    "cg_dai_yuan": _cg("dai_yuan", "powell"),
    "cg_hager_zhang": _cg("hager_zhang"),
    "cg_powell_beale": _cg("hestenes_stiefel", "powell_beale"),
    "scg": ScaledConjugateGradient,
    "bfgs": BFGS,
    "lbfgs": LBFGS,
    "one_step_secant": OneStepSecant,
    "steepest_descent": SteepestDescent,
    "gradient_descent": GradientDescent,
    "rprop-": lambda: Rprop("rprop-"),
    "rprop+": lambda: Rprop("rprop+"),
    "irprop-": lambda: Rprop("irprop-"),
    "irprop+": lambda: Rprop("irprop+"),
    "quickprop": Quickprop,
    "lm": LevenbergMarquardt,
    "bayesian": BayesianRegularization,
}
"""What names stand for; MATLAB's are ALIASES of them."""

ALIASES = {
    "rprop": "irprop+",
    "oss": "one_step_secant",
    "levenberg_marquardt": "lm",
    "trainlm": "lm",
    "trainbr": "bayesian",
    "trainscg": "scg",
    "traincgf": "cg_fletcher_reeves",
    "traincgp": "cg_polak_ribiere",
    "traincgb": "cg_powell_beale",
    "trainbfg": "bfgs",
    "trainoss": "one_step_secant",
    "trainrp": "rprop-",
    "traingd": "gradient_descent",
    "traingdm": "gradient_descent_momentum",
    "traingda": "gradient_descent_adaptive",
    "traingdx": "gradient_descent_adaptive_momentum",
}

BY_NAME |= {
    "gradient_descent_momentum": lambda: GradientDescent(momentum=0.9),
    "gradient_descent_adaptive": lambda: GradientDescent(adaptive=True),
    "gradient_descent_adaptive_momentum": lambda: GradientDescent(momentum=0.9, adaptive=True),
}


_Other = TypeVar("_Other")


def as_trainer(
    trainer: object, others: Mapping[str, Callable[[], _Other]] | None = None
) -> Trainer | _Other:
    """Return a `Trainer` from one or from a name; or what is made by a name in `others`."""
    if isinstance(trainer, Trainer):
        if isinstance(trainer, tuple(TRAINERS.values())):
            return trainer
        raise ValueError(
            f"{type(trainer).__name__} is a trainer of your own, which a file of the network could "
            "not name; nncore.minimize takes it"
        )
    if isinstance(trainer, type) and issubclass(trainer, Trainer):
        raise ValueError(f"optimizer is a class; write {trainer.__name__}() with brackets")
    known: dict[str, Callable[[], Trainer | _Other]] = {**BY_NAME, **(others or {})}
    return known[names.look_up("optimizer", trainer, known, ALIASES)]()


__all__ = [
    "BFGS", "BayesianRegularization", "ConjugateGradient", "GradientDescent", "LBFGS",
    "LevenbergMarquardt", "OneStepSecant", "Quickprop", "Result", "Rprop",
    "ScaledConjugateGradient", "SteepestDescent", "Stuck", "Trainer", "minimize",
]  # fmt: skip
