from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

class _Activation(TypedDict):
    keeps: Literal["none", "x", "y"]
    parameters: dict[str, float]

class _Loss(TypedDict):
    output: str | None
    mean: Literal["elements", "rows"]
    per_target: int
    hyper: dict[str, float]

class _Optimizer(TypedDict):
    vectors: int
    hyper: dict[str, float]

ACTIVATIONS: dict[str, _Activation]
LOSSES: dict[str, _Loss]
OPTIMIZERS: dict[str, _Optimizer]
STEPS: tuple[str, ...]
BLOCK: int
ISA: str

def isas() -> tuple[str, ...]: ...

MAX_THREADS: int

def all_finite(array: NDArray[Any]) -> bool: ...
def dot(x: NDArray[Any], y: NDArray[Any]) -> float: ...
def two_loops(s: Sequence[NDArray[Any]], y: Sequence[NDArray[Any]], q: NDArray[Any]) -> None: ...
def set_threads(threads: int, processors: int) -> None: ...
def threads() -> int: ...
def build_info() -> dict[str, Any]: ...
def is_matrix(array: NDArray[Any], write: bool = False) -> bool: ...
def aligned_zeros(shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]: ...
def touch() -> None: ...

class Exclusive:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
    def locked(self) -> bool: ...

class Engine:
    theta: NDArray[Any]
    dtype: np.dtype[Any]
    isa: str
    pending: bool
    rule: str
    state: NDArray[Any]
    hyper: tuple[float, ...]
    n_updates: int
    running: NDArray[Any]
    draws: tuple[int, int, int] | None
    def __init__(
        self, steps: list[Any], n_params: int, loss: Any, dtype: Any, isa: str | None = None
    ) -> None: ...
    average: NDArray[Any] | None
    averaged: int
    ema: float
    def set_optimizer(self, name: str, hyper: tuple[float, ...]) -> None: ...
    def set_options(
        self,
        decay: float = 0.0,
        clip_norm: float = 0.0,
        clip_value: float = 0.0,
        ema: float = 0.0,
    ) -> None: ...
    def keep_average(self) -> None: ...
    def forget_average(self) -> None: ...
    def set_tuning(self, tuning: list[Any] | None) -> None: ...
    def predict(
        self, X: NDArray[Any], out: NDArray[Any], n_threads: int = 0, sample: bool = False
    ) -> None: ...
    def loss(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        n_threads: int = 0,
        theta: NDArray[Any] | None = None,
        weights: NDArray[np.float64] | None = None,
        counts: NDArray[np.float64] | None = None,
        so_far: NDArray[np.float64] | None = None,
    ) -> float: ...
    def loss_and_gradient(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        gradient: NDArray[Any],
        n_threads: int = 0,
        theta: NDArray[Any] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def input_gradient(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        dx: NDArray[Any],
        n_threads: int = 0,
        theta: NDArray[Any] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def sample_gradients(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        losses: NDArray[np.float64],
        gradients: NDArray[Any],
        n_threads: int = 0,
        theta: NDArray[Any] | None = None,
    ) -> None: ...
    def jacobian(
        self,
        X: NDArray[Any],
        by_parameters: bool,
        jacobian: NDArray[Any],
        n_threads: int = 0,
        theta: NDArray[Any] | None = None,
        of_loss: bool = False,
    ) -> None: ...
    def hessian_product(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        v: NDArray[Any],
        product: NDArray[Any],
        n_threads: int = 0,
        theta: NDArray[Any] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def landscape(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        center: NDArray[np.float64],
        u: NDArray[np.float64],
        v: NDArray[np.float64],
        a: NDArray[np.float64],
        b: NDArray[np.float64],
        n_threads: int = 0,
        weights: NDArray[np.float64] | None = None,
        report: Any = None,
    ) -> NDArray[np.float64]: ...
    def train(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        order: NDArray[np.int64] | None,
        batch_size: int,
        n_threads: int = 0,
        weights: NDArray[np.float64] | None = None,
        rates: NDArray[np.float64] | None = None,
        counts: NDArray[np.float64] | None = None,
        most: float = 0.0,
    ) -> NDArray[np.float64]: ...

class Predictor:
    _engine: Any
    @property
    def _training(self) -> Exclusive: ...
    def _unknown_settings(self) -> int: ...
    def _be_ready(self, settings: int, low: float, high: float, ends: bool) -> None: ...
    def predict(
        self, X: ArrayLike, *, out: NDArray[Any] | None = None, n_threads: int | None = None
    ) -> NDArray[Any]: ...
    def predict_one(self, x: ArrayLike) -> NDArray[Any]: ...
    def learn_one(self, x: ArrayLike, y: ArrayLike) -> float: ...

class Kernels:
    dtype: np.dtype[Any]
    isa: str
    lanes: int
    tile: tuple[int, int]
    def __init__(self, isa: str | None = None, dtype: Any = "float32") -> None: ...
    def gemm(
        self,
        a: NDArray[Any],
        b: NDArray[Any],
        c: NDArray[Any],
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: NDArray[Any] | None = None,
        accumulate: bool = False,
        activation: str | None = None,
        parameters: tuple[float, ...] | None = None,
        y: NDArray[Any] | None = None,
        kept: NDArray[Any] | None = None,
        b_has_slack: bool = False,
    ) -> None: ...
    def activation(
        self,
        name: str,
        x: NDArray[Any],
        y: NDArray[Any],
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def derivative(
        self,
        order: int,
        name: str,
        x: NDArray[Any],
        y: NDArray[Any],
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def slope(
        self,
        name: str,
        kept: NDArray[Any],
        dy: NDArray[Any],
        dx: NDArray[Any],
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def softmax(self, z: NDArray[Any], y: NDArray[Any], log: bool = False) -> None: ...
    def softmax_slope(
        self, y: NDArray[Any], dy: NDArray[Any], dz: NDArray[Any], log: bool = False
    ) -> None: ...
    def loss(
        self,
        name: str,
        y: NDArray[Any],
        t: NDArray[Any],
        dy: NDArray[Any],
        scale: float = 1.0,
        parameters: tuple[float, ...] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def loss_values(
        self,
        name: str,
        y: NDArray[Any],
        t: NDArray[Any],
        values: NDArray[np.float64],
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def loss_curve(
        self,
        name: str,
        y: NDArray[Any],
        t: NDArray[Any],
        r: NDArray[Any],
        dy: NDArray[Any],
        scale: float = 1.0,
        parameters: tuple[float, ...] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None: ...
    def column_sums(self, x: NDArray[Any], s: NDArray[Any], accumulate: bool = False) -> None: ...
    def gather(self, index: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any]) -> None: ...
    def finite(self, x: NDArray[Any]) -> bool: ...
    def update(
        self,
        name: str,
        theta: NDArray[Any],
        gradient: NDArray[Any],
        state: list[NDArray[Any]],
        hyper: tuple[float, ...],
        t: int,
    ) -> None: ...
    def shape(
        self,
        theta: NDArray[Any],
        gradient: NDArray[Any],
        l1: float = 0.0,
        l2: float = 0.0,
        limit: float = ...,
        scale: float = 1.0,
    ) -> None: ...
    def decay(self, theta: NDArray[Any], keep: float) -> None: ...
    def norms(self, x: NDArray[Any]) -> tuple[float, float]: ...
    def limit_columns(self, w: NDArray[Any], limit: float) -> None: ...
    def average(self, to: NDArray[Any], x: NDArray[Any], weight: float) -> None: ...
    def fma_probe(self, iterations: int) -> float: ...
