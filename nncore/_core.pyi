from collections.abc import Sequence
from typing import Any, Literal, Self, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .data import Matrix

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

def all_finite(array: np.ndarray) -> bool: ...
def dot(x: np.ndarray, y: np.ndarray) -> float: ...
def two_loops(s: Sequence[np.ndarray], y: Sequence[np.ndarray], q: np.ndarray) -> None: ...
def set_threads(threads: int, processors: int) -> None: ...
def threads() -> int: ...
def build_info() -> dict[str, Any]: ...
def is_matrix(array: np.ndarray, write: bool = False) -> bool: ...
def shuffled(n: int, key: int) -> np.ndarray: ...
def aligned_zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray: ...
def touch() -> None: ...

class Exclusive:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
    def locked(self) -> bool: ...

class Engine:
    theta: np.ndarray
    dtype: np.dtype
    isa: str
    pending: bool
    rule: str
    state: np.ndarray
    hyper: tuple[float, ...]
    n_updates: int
    running: np.ndarray
    draws: tuple[int, int, int] | None
    def __new__(
        cls, steps: list[Any], n_params: int, loss: Any, dtype: Any, isa: str | None = None
    ) -> Self: ...
    average: np.ndarray | None
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
        self, X: np.ndarray, out: np.ndarray, n_threads: int = 0, sample: bool = False
    ) -> None: ...
    def loss(
        self,
        X: np.ndarray,
        y: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: NDArray[np.float64] | None = None,
        counts: NDArray[np.float64] | None = None,
        so_far: NDArray[np.float64] | None = None,
    ) -> float: ...
    def loss_and_gradient(
        self,
        X: np.ndarray,
        y: np.ndarray,
        gradient: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def input_gradient(
        self,
        X: np.ndarray,
        y: np.ndarray,
        dx: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def sample_gradients(
        self,
        X: np.ndarray,
        y: np.ndarray,
        losses: NDArray[np.float64],
        gradients: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
    ) -> None: ...
    def jacobian(
        self,
        X: np.ndarray,
        by_parameters: bool,
        jacobian: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        of_loss: bool = False,
    ) -> None: ...
    def hessian_product(
        self,
        X: np.ndarray,
        y: np.ndarray,
        v: np.ndarray,
        product: np.ndarray,
        n_threads: int = 0,
        theta: np.ndarray | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def landscape(
        self,
        X: np.ndarray,
        y: np.ndarray,
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
        X: np.ndarray,
        y: np.ndarray,
        order: NDArray[np.int64] | None,
        batch_size: int,
        n_threads: int = 0,
        weights: NDArray[np.float64] | None = None,
        rates: NDArray[np.float64] | None = None,
        counts: NDArray[np.float64] | None = None,
        most: float = 0.0,
    ) -> NDArray[np.float64]: ...

class Predictor:
    _engine: Engine
    @property
    def _training(self) -> Exclusive: ...
    def _unknown_settings(self) -> int: ...
    def _be_ready(self, settings: int, low: float, high: float, ends: bool) -> None: ...
    def predict(
        self, X: Matrix, *, out: np.ndarray | None = None, n_threads: int | None = None
    ) -> np.ndarray: ...
    def predict_one(self, x: ArrayLike) -> np.ndarray: ...
    def learn_one(self, x: ArrayLike, y: ArrayLike) -> float: ...

class Kernels:
    dtype: np.dtype
    isa: str
    lanes: int
    tile: tuple[int, int]
    def __new__(cls, isa: str | None = None, dtype: Any = "float32") -> Self: ...
    def gemm(
        self,
        a: np.ndarray,
        b: np.ndarray,
        c: np.ndarray,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: np.ndarray | None = None,
        accumulate: bool = False,
        activation: str | None = None,
        parameters: tuple[float, ...] | None = None,
        y: np.ndarray | None = None,
        kept: np.ndarray | None = None,
        b_has_slack: bool = False,
    ) -> None: ...
    def activation(
        self,
        name: str,
        x: np.ndarray,
        y: np.ndarray,
        parameters: tuple[float, ...] | None = None,
        keep: bool = False,
    ) -> None: ...
    def derivative(
        self,
        order: int,
        name: str,
        x: np.ndarray,
        y: np.ndarray,
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def slope(
        self,
        name: str,
        kept: np.ndarray,
        dy: np.ndarray,
        dx: np.ndarray,
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def softmax(self, z: np.ndarray, y: np.ndarray, log: bool = False) -> None: ...
    def softmax_slope(
        self, y: np.ndarray, dy: np.ndarray, dz: np.ndarray, log: bool = False
    ) -> None: ...
    def loss(
        self,
        name: str,
        y: np.ndarray,
        t: np.ndarray,
        dy: np.ndarray,
        scale: float = 1.0,
        parameters: tuple[float, ...] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> float: ...
    def loss_values(
        self,
        name: str,
        y: np.ndarray,
        t: np.ndarray,
        values: NDArray[np.float64],
        parameters: tuple[float, ...] | None = None,
    ) -> None: ...
    def loss_curve(
        self,
        name: str,
        y: np.ndarray,
        t: np.ndarray,
        r: np.ndarray,
        dy: np.ndarray,
        scale: float = 1.0,
        parameters: tuple[float, ...] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None: ...
    def column_sums(self, x: np.ndarray, s: np.ndarray, accumulate: bool = False) -> None: ...
    def gather(self, index: NDArray[np.int64], x: np.ndarray, y: np.ndarray) -> None: ...
    def finite(self, x: np.ndarray) -> bool: ...
    def update(
        self,
        name: str,
        theta: np.ndarray,
        gradient: np.ndarray,
        state: list[np.ndarray],
        hyper: tuple[float, ...],
        t: int,
    ) -> None: ...
    def shape(
        self,
        theta: np.ndarray,
        gradient: np.ndarray,
        l1: float = 0.0,
        l2: float = 0.0,
        limit: float = ...,
        scale: float = 1.0,
    ) -> None: ...
    def decay(self, theta: np.ndarray, keep: float) -> None: ...
    def norms(self, x: np.ndarray) -> tuple[float, float]: ...
    def limit_columns(self, w: np.ndarray, limit: float) -> None: ...
    def average(self, to: np.ndarray, x: np.ndarray, weight: float) -> None: ...
    def fma_probe(self, iterations: int) -> float: ...
