"""Names that users type, and what is said about one that does not exist."""

from __future__ import annotations

from . import _core

# softmax is of a whole row, so it is not a row of the engine's table.
ACTIVATIONS = {**_core.ACTIVATIONS, "softmax": {"keeps": "y", "a": 0.0}}

ACTIVATION_ALIASES = {
    "linear": "identity",
    "purelin": "identity",
    "poslin": "relu",
    "logistic": "sigmoid",
    "logsig": "sigmoid",
    "tansig": "tanh",
    "elliotsig": "softsign",
    "satlins": "hardtanh",
    "swish": "silu",
}

LOSS_ALIASES = {
    "squared_error": "mse",
    "mean_squared_error": "mse",
    "half_squared_error": "half_mse",
}


def activation(name):
    """Return the name of an activation, given that or an alias."""
    name = look_up("activation", name, [*ACTIVATIONS, *ACTIVATION_ALIASES])
    return ACTIVATION_ALIASES.get(name, name)


def look_up(what, name, known):
    """Return `name` if it is in `known`; otherwise say which names are, and the nearest one."""
    if isinstance(name, str) and name in known:
        return name
    import difflib  # only needed here, and it is slow to import

    message = f"Unknown {what} {name!r}."
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(str(name).lower(), lower, 1)
    if near:
        message += f' Did you mean "{lower[near[0]]}"?'
    raise ValueError(f"{message} Known: {', '.join(sorted(known))}.")
