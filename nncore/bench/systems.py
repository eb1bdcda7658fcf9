"""What a system is to the benchmark; nncore and NumPy, and where to find the others."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .cases import Case, Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .. import Network

# Imported by its own worker process only, by name, so none needs another one to be installed.
SYSTEMS = {
    "nncore": "nncore.bench.systems:NNCore",
    "numpy": "nncore.bench.systems:NumPy",
    "sklearn": "nncore.bench.peers:ScikitLearn",
    "torch": "nncore.bench.peers:Torch",
    "torch-compile": "nncore.bench.peers:TorchCompile",
    "jax": "nncore.bench.peers:Jax",
    "onnx": "nncore.bench.peers:OnnxRuntime",
}
PACKAGES = {  # what has to be installed for it
    "sklearn": "sklearn",
    "torch": "torch",
    "torch-compile": "torch",
    "jax": "jax",
    "onnx": "onnxruntime",
}
DEFAULT = ("nncore", "numpy", "sklearn", "torch", "jax", "onnx")  # torch-compile takes minutes


def load(place: str, threads: int) -> Any:
    """Return the system of this place, "module:Class", for that many threads."""
    module, _, cls = place.partition(":")
    return getattr(importlib.import_module(module), cls)(threads)


class System:
    """One way to train and to predict.

    A subclass has the methods of its modes: `trainer` for "train" and "online", `predictor` for
    "predict". Both take a `Case` and its `Data`.

    Parameters
    ----------
    threads : int
        Threads that it may use.
    """

    trainer: Callable[[Case, Data], "Trainer"]
    predictor: Callable[[Case, Data], dict[str, Callable[[], Any]]]

    def __init__(self, threads: int):
        self.threads = threads

    def version(self) -> str:
        """Return the name and version for the header."""
        raise NotImplementedError

    def cannot(self, case: Case) -> str | None:
        """Return why it has no place in this case, or None."""
        if case.mode == "predict":
            return None if hasattr(self, "predictor") else "does not predict"
        return None if hasattr(self, "trainer") else "does not train"


class Trainer:
    """Training of one network. `losses` and `epoch` run the same code.

    Methods
    -------
    losses(batches)
        Do one step for each of these row numbers; return the losses, each before its update.
    epoch()
        Draw a new order of the rows with NumPy and do a step for each batch of it. Returns when
        all is done.
    """

    losses: Callable[[np.ndarray], Any]
    epoch: Callable[[], Any]


class NNCore(System):
    """nncore as its users call it: `Network.fit` and `Network.predict`."""

    backend = "auto"

    def version(self) -> str:
        from .. import __version__, _core

        isa = self.network(1, [(np.ones((1, 1)), np.ones(1))], ["identity"]).backend
        return f"nncore {__version__} on {isa} ({_core.build_info()['compiler']})"

    def network(
        self,
        n_in: int,
        weights: list[tuple[np.ndarray, np.ndarray]],
        activations: list[str],
        **options: Any,
    ) -> "Network":
        """Return a network with these weights."""
        from .. import Dense, Network

        net = Network(
            n_in,
            *(Dense(len(b), f) for (_, b), f in zip(weights, activations, strict=True)),
            backend=self.backend, seed=0, **options,
        )  # fmt: skip
        for layer, (W, b) in zip(net.layers, weights, strict=True):
            layer.W, layer.b = W, b
        return net

    def of(self, case: Case, data: Data) -> "Network":
        """Return the network of a case."""
        from .. import SGD, Adam

        rule = {"adam": Adam, "sgd": SGD}[case.optimizer]
        activations = [case.activation] * (len(case.products) - 1) + [case.output]
        return self.network(
            case.layers[0], data.weights, activations,
            loss=case.loss, optimizer=rule(case.learning_rate), dtype=case.dtype,
        )  # fmt: skip

    def trainer(self, case: Case, data: Data) -> Trainer:
        return _Fit(self.of(case, data), case, data)

    def predictor(self, case: Case, data: Data) -> dict[str, Callable[[], Any]]:
        net = self.of(case, data)
        out = np.empty((case.batch, case.layers[-1]), case.dtype)
        return {"": partial(net.predict, data.X), "out=": partial(net.predict, data.X, out=out)}


class NumPy(NNCore):
    """The reference backend: pure NumPy, as a careful user would write it."""

    backend = "reference"

    def version(self) -> str:
        from .timing import blas

        return f"NumPy {np.__version__} ({blas()})"


class _Fit(Trainer):
    def __init__(self, net: "Network", case: Case, data: Data):
        self.net, self.data = net, data
        self.epoch = partial(net.fit, data.X, data.y, batch_size=case.batch, verbose=False)

    def losses(self, batches: np.ndarray) -> np.ndarray:
        # `fit` calls this with an order of its own, and tells only the mean of these losses.
        size = batches.shape[1]
        losses: np.ndarray = self.net._engine.train(
            self.data.X, self.data.y, batches.reshape(-1), size
        )
        return losses
