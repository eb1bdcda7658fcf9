"""Names that users type, and what is said about one that does not exist."""

from collections.abc import Collection, Mapping
from typing import Any

from . import _core

# These are of a whole row of numbers, so they are not rows of the engine's table.
WHOLE_ROW = ("softmax", "log_softmax")
ACTIVATIONS: dict[str, Any] = {
    **_core.ACTIVATIONS,
    **{n: {"keeps": "y", "parameters": {}} for n in WHOLE_ROW},
}

own_activations: dict[str, Any] = {}
"""Activations that the user has registered, by name; `own_activation` knows what they are."""

ACTIVATION_ALIASES = {
    "linear": "identity",
    "purelin": "identity",
    "poslin": "relu",
    "logistic": "sigmoid",
    "logsig": "sigmoid",
    "tansig": "tanh",
    "sigmoid_symmetric": "tanh",
    "elliotsig": "softsign",
    "elliot_symmetric": "softsign",
    "hard_tanh": "hardtanh",
    "satlins": "hardtanh",
    "linear_piece_symmetric": "hardtanh",
    "linear_piece": "satlin",
    "hardsigmoid": "hard_sigmoid",
    "logsigmoid": "log_sigmoid",
    "swish": "silu",
    "hardswish": "hard_swish",
    "hard_silu": "hard_swish",
    "tanh_shrink": "tanhshrink",
    "hardshrink": "hard_shrink",
    "soft_shrink": "softshrink",
    "exp": "exponential",
    "radbas": "gaussian",
    "logsoftmax": "log_softmax",
}

LOSS_ALIASES = {
    "squared_error": "mse",
    "mean_squared_error": "mse",
    "mse_loss": "mse",
    "half_squared_error": "half_mse",
    "l1": "mae",
    "l1_loss": "mae",
    "absolute_error": "mae",
    "mean_absolute_error": "mae",
    "huber_loss": "huber",
    "smooth_l1_loss": "smooth_l1",
    "logcosh": "log_cosh",
    "pinball": "quantile",
    "poisson_nll": "poisson",
    "poisson_nll_loss": "poisson",
    "bce": "binary_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "binary_focal_crossentropy": "focal",
    "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "kullback_leibler": "kl_divergence",
    "gaussian_nll_loss": "gaussian_nll",
}


def activation(name: object) -> str:
    """Return the name of an activation, given that or an alias."""
    return look_up("activation", name, [*ACTIVATIONS, *own_activations], ACTIVATION_ALIASES)


def look_up(
    what: str, name: object, known: Collection[str], aliases: Mapping[str, str] | None = None
) -> str:
    """Return `name` if it is in `known`, or what it is an alias of, by a dict of them.

    Otherwise say which names are known, and the nearest name or alias.
    """
    if isinstance(name, str) and name in known:
        return name
    aliases = aliases or {}
    if isinstance(name, str) and name in aliases:
        return aliases[name]
    import difflib  # only needed here, and it is slow to import

    message = f"Unknown {what} {name!r}."
    lower = {each.lower(): each for each in (*known, *aliases)}
    near = difflib.get_close_matches(str(name).lower(), lower, 1)
    if near:
        message += f' Did you mean "{lower[near[0]]}"?'
    raise ValueError(f"{message} Known: {', '.join(sorted(known))}.")
