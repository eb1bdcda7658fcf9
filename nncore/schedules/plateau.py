"""The schedule that looks at the losses, and so has a state."""

import math
from typing import Any

import numpy as np

from ..described import argument
from .base import Schedule


class OnPlateau(Schedule):
    """Multiplied by `factor` after epochs without progress (torch's ReduceLROnPlateau).

    After each epoch of `Network.fit` what is monitored is compared with its best value so far.
    After more than `patience` epochs in a row that were no better the rate is reduced.

    Parameters
    ----------
    lr : float
        The first rate.
    factor : float, default 0.1
        In (0, 1).
    patience : int, default 10
    threshold : float, default 1e-4
        Better is below ``best - threshold * abs(best)``, or below ``best - threshold`` where
        ``threshold_mode="abs"``; of an accuracy, above the best by as much.
    threshold_mode : {"rel", "abs"}, default "rel"
    cooldown : int, default 0
        Epochs after a reduction in which none counts as bad.
    lr_min : float, default 0.0
    monitor : str, optional
        A name of the history: "loss", "val_loss" or "val_accuracy". By default "val_loss" with
        validation data, and "loss" without.

    Examples
    --------
    >>> import nncore
    >>> rate = OnPlateau(0.1, factor=0.5, patience=0)
    >>> net = nncore.Network(1, nncore.Dense(1), optimizer=nncore.SGD(rate), seed=0)
    >>> net.fit([[0.0], [0.0]], [1.0, -1.0], epochs=4, verbose=False)["lr"]  # no progress
    [0.1, 0.1, 0.05, 0.025]
    """

    lr: float = argument()
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    lr_min: float = 0.0
    monitor: str | None = None
    per = "epoch"

    def check(self) -> None:
        super().check()
        self._check_choice("per", ("epoch",))
        if not 0 < self.factor < 1:
            raise self._refusal("factor", "in (0, 1)")
        self._check_counts("patience", "cooldown", least=0)
        self._check_not_negative("threshold")
        self._check_choice("threshold_mode", ("rel", "abs"))
        self._check_choice("monitor", (None, "loss", "val_loss", "val_accuracy"))

    def start(self) -> dict[str, Any]:
        return {"lr": self.lr, "best": None, "bad": 0, "cooling": 0}

    def at(self, t: np.ndarray) -> np.ndarray:
        return np.full(t.shape, self.lr)

    def rates(self, state: dict[str, Any], updates: int, steps: int, epochs: int) -> np.ndarray:
        return np.full(steps, state["lr"])

    def monitored(self) -> str | None:
        return self.monitor

    def check_state(self, state: dict[str, Any]) -> None:
        lr, best = state["lr"], state["best"]
        counts = [state[name] for name in ("bad", "cooling")]
        if (
            set(state) != {"lr", "best", "bad", "cooling"}
            or type(lr) is not float
            or not 0 <= lr < math.inf
            or not (best is None or (type(best) is float and math.isfinite(best)))
            or any(type(count) is not int or not 0 <= count < 1 << 62 for count in counts)
        ):
            raise ValueError(f"a state that OnPlateau cannot have: {state!r}")

    def end_epoch(self, state: dict[str, Any], values: dict[str, float]) -> None:
        name = self.monitor or ("val_loss" if "val_loss" in values else "loss")
        value, best = float(values[name]), state["best"]
        upwards = name.endswith("accuracy")
        better = best is None or self._is_better(value, best, upwards)
        if better and math.isfinite(value):
            state["best"], state["bad"] = value, 0
        else:
            state["bad"] += 1
        if state["cooling"] > 0:
            state["cooling"], state["bad"] = state["cooling"] - 1, 0
        if state["bad"] > self.patience:
            reduced = max(state["lr"] * self.factor, self.lr_min)
            if state["lr"] - reduced > 1e-8:  # as torch's eps
                state["lr"] = reduced
            state["cooling"], state["bad"] = self.cooldown, 0

    def _is_better(self, value: float, best: float, upwards: bool) -> bool:
        if upwards:
            value, best = -value, -best
        margin = self.threshold * (abs(best) if self.threshold_mode == "rel" else 1)
        return value < best - margin
