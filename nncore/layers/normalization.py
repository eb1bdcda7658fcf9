"""Layers that normalise: columns over a batch, or the outputs of each row."""

from typing import Any

import numpy as np

from .base import Layer, Step, real, view

_NO_WIDTH = " (the network knows how many columns)"


class _Normalization(Layer):
    """What both have: ``y = gamma (x - mean) / sqrt(var + eps) + beta``."""

    settable = ("trainable", "lr_scale")

    def __init__(self, eps: float, trainable: bool, lr_scale: float) -> None:
        # Below that, 1 / sqrt(0 + eps) is not finite in float32; what is above is meant as a width.
        self.eps = real(
            eps, f"eps of {type(self).__name__}", lambda e: 1e-30 <= e <= 1,
            f"from 1e-30 to 1, such as 1e-5{_NO_WIDTH}",
        )  # fmt: skip
        self.trainable, self.lr_scale = trainable, lr_scale

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"gamma": (n_in,), "beta": (n_in,)}

    def initialize(self, rng: "np.random.Generator") -> None:
        self.gamma = 1
        self.beta = 0

    gamma: np.ndarray | Any = view("gamma")
    beta: np.ndarray | Any = view("beta")


class BatchNorm(_Normalization):
    """Normalise each column over the batch: ``y = gamma (x - mean) / sqrt(var + eps) + beta``.

    Ioffe and Szegedy 2015. In training, mean and (biased) variance are those of the whole batch,
    however large. Elsewhere, in `predict`, `evaluate` and `loss_and_gradient`, they are running
    ones, so each row's result is its own; with each update ``r += momentum (batch's - r)``, where
    the batch's variance is the unbiased one, as in PyTorch.

    Parameters
    ----------
    momentum : float, default 0.1
        The weight of the newest batch, from 0 to 1. (What Keras calls momentum is 1 minus it.)
    eps : float, default 1e-5
        From 1e-30 to 1.
    trainable : bool, default True
        Whether training changes gamma and beta; the running statistics go on all the same.
    lr_scale : float, default 1.0
        Multiplies the learning rate of this layer.

    Attributes
    ----------
    trainable, lr_scale
        As above; they may be changed in ``net.layers`` at any time.
    gamma, beta : numpy.ndarray, shape (n_in,)
        Parameters, 1 and 0 at the start: writable views of ``net.theta``; only in ``net.layers``.
        No weight decay touches them.
    running_mean, running_var : numpy.ndarray, shape (n_in,)
        0 and 1 at the start; saved and copied with the network. No gradient touches them.

    Raises
    ------
    ValueError
        In training, when a batch has one row, which has no variance.

    Notes
    -----
    Weights of samples count in the loss, but every row of a batch counts as one in mean and
    variance.

    Training needs memory for the outputs of all layers for a whole batch; without `BatchNorm` it is
    for 256 rows.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(
    ...     3, nncore.Dense(8, bias=False), nncore.BatchNorm(), nncore.PReLU(), nncore.Dense(1))
    >>> net.layers[1].running_var[:2]
    array([1., 1.], dtype=float32)
    """

    of_batches = True

    def __init__(
        self,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *,
        trainable: bool = True,
        lr_scale: float = 1.0,
    ) -> None:
        self.momentum = real(
            momentum,
            "momentum of BatchNorm",
            lambda m: 0 <= m <= 1,
            f"from 0 to 1, such as 0.1{_NO_WIDTH}",
        )
        super().__init__(eps, trainable, lr_scale)

    def __repr__(self) -> str:
        return f"BatchNorm(momentum={self.momentum:g}, eps={self.eps:g}{self._shown_settings()})"

    def running_shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"running_mean": (n_in,), "running_var": (n_in,)}

    def initialize(self, rng: "np.random.Generator") -> None:
        super().initialize(rng)
        self.running_mean = 0
        self.running_var = 1

    running_mean: np.ndarray | Any = view("running_mean", of="running")
    running_var: np.ndarray | Any = view("running_var", of="running")

    def lower(self, n_in: int, offset: int) -> list[Step]:
        values = (self.momentum, self.eps)
        return [Step("batch_norm", n_in, n_in, w=offset, b=offset + n_in, values=values)]

    def config(self) -> dict[str, Any]:
        config = {"type": "batch_norm", "momentum": self.momentum, "eps": self.eps}
        return config | self.settings()


class LayerNorm(_Normalization):
    """Normalise the outputs of each row: ``y = gamma (x - mean) / sqrt(var + eps) + beta``.

    Ba, Kiros and Hinton 2016. Mean and (biased) variance are those of the row, in training and
    elsewhere.

    Parameters
    ----------
    eps : float, default 1e-5
        From 1e-30 to 1.
    trainable : bool, default True
        Whether training changes gamma and beta.
    lr_scale : float, default 1.0
        Multiplies the learning rate of this layer.

    Attributes
    ----------
    trainable, lr_scale
        As above; they may be changed in ``net.layers`` at any time.
    gamma, beta : numpy.ndarray, shape (n_in,)
        Parameters, 1 and 0 at the start: writable views of ``net.theta``; only in ``net.layers``.
        No weight decay touches them.

    Examples
    --------
    >>> import nncore
    >>> net = nncore.Network(3, nncore.Dense(8, "tanh"), nncore.LayerNorm(), nncore.Dense(1))
    """

    bends = True

    def __init__(self, eps: float = 1e-5, *, trainable: bool = True, lr_scale: float = 1.0) -> None:
        super().__init__(eps, trainable, lr_scale)

    def __repr__(self) -> str:
        return f"LayerNorm(eps={self.eps:g}{self._shown_settings()})"

    def lower(self, n_in: int, offset: int) -> list[Step]:
        return [Step("layer_norm", n_in, n_in, w=offset, b=offset + n_in, values=(0.0, self.eps))]

    def config(self) -> dict[str, Any]:
        return {"type": "layer_norm", "eps": self.eps} | self.settings()
