"""The other libraries, each used as well as we know how. They are imported inside functions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .cases import Case, Data
from .systems import System, Trainer


class ScikitLearn(System):
    """scikit-learn's two MLPs: `partial_fit` is an epoch, and Adam's state is kept."""

    activations = {"identity": "identity", "relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}

    def version(self) -> str:
        import sklearn

        return f"scikit-learn {sklearn.__version__}"

    def cannot(self, case: Case) -> str | None:
        if case.activation not in self.activations:
            return f"has no {case.activation}"
        if case.mode == "online":
            return "is made for batches"
        if case.loss == "cross_entropy" and case.layers[-1] < 3:
            return "has no softmax of two classes"
        if case.loss == "binary_cross_entropy" and case.layers[-1] == 1:
            return "reads one column of 0 and 1 as labels"
        return super().cannot(case)

    def model(self, case: Case, data: Data) -> tuple[Any, np.ndarray]:
        """Return a model with the weights of `data` and a fresh Adam."""
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        regression = case.output == "identity"
        model = (MLPRegressor if regression else MLPClassifier)(
            hidden_layer_sizes=case.layers[1:-1], activation=self.activations[case.activation],
            solver="adam", alpha=0.0, batch_size=case.batch, learning_rate_init=case.learning_rate,
            epsilon=1e-8, random_state=0,
        )  # fmt: skip
        labels = {} if regression else {"classes": np.arange(case.layers[-1])}
        y = data.y.ravel() if case.layers[-1] == 1 else data.y
        model.partial_fit(data.X[: case.batch], y[: case.batch], **labels)
        for coefficients, intercepts, (W, b) in zip(
            model.coefs_, model.intercepts_, data.weights, strict=True
        ):
            coefficients[...], intercepts[...] = W, b
        adam = model._optimizer
        adam.t = 0
        for state in (*adam.ms, *adam.vs):
            state[...] = 0
        return model, y

    def trainer(self, case: Case, data: Data) -> Trainer:
        return _PartialFit(*self.model(case, data), case, data)

    def predictor(self, case: Case, data: Data) -> dict[str, Callable[[], Any]]:
        model, _ = self.model(case, data)
        public = model.predict if case.output == "identity" else model.predict_proba
        return {
            "": partial(public, data.X),
            "without checks": partial(model._forward_pass_fast, data.X, check_input=False),
        }


class _PartialFit(Trainer):
    def __init__(self, model: Any, y: Any, case: Case, data: Data):
        self.model, self.X, self.y = model, data.X, y
        # For squares it reports half the mean over all elements, but steps along the gradient of
        # half_mse; its binary cross-entropy is a sum over the outputs. Adam does not see a factor
        # of the gradient, except in eps.
        n_out = case.layers[-1]
        self.scale, self.gradient_scale = {
            "mse": (2.0, n_out / 2),
            "half_mse": (n_out, 1.0),
            "cross_entropy": (1.0, 1.0),
            "binary_cross_entropy": (1 / n_out, n_out),
        }[case.loss]
        self.epoch = partial(model.partial_fit, self.X, self.y)

    def losses(self, batches: np.ndarray) -> list[float]:
        adam, losses = self.model._optimizer, []
        for t, i in enumerate(batches, adam.t + 1):
            # It adds eps before v is corrected, the others do after it: here it counts alike.
            adam.epsilon = 1e-8 * self.gradient_scale * (1 - adam.beta_2**t) ** 0.5
            losses.append(self.scale * self.model.partial_fit(self.X[i], self.y[i]).loss_)
        return losses


class Torch(System):
    """PyTorch, eager: functional layers on its parameters, fused Adam."""

    def __init__(self, threads: int):
        super().__init__(threads)
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def version(self) -> str:
        capability = self.torch.backends.cpu.get_cpu_capability()
        return f"PyTorch {self.torch.__version__} on {capability}"

    def functions(self, case: Case) -> tuple[Callable[..., Any], Any, Any]:
        """Return the forward pass to the scores, the loss of scores, and the outputs of scores."""
        F = self.torch.nn.functional
        hidden = {
            "relu": self.torch.relu, "tanh": self.torch.tanh, "sigmoid": self.torch.sigmoid,
            "softplus": F.softplus, "softsign": F.softsign, "identity": lambda x: x,
            "elu": F.elu, "gelu": F.gelu, "leaky_relu": F.leaky_relu, "selu": F.selu,
            "silu": F.silu,
        }[case.activation]  # fmt: skip

        def forward(x: Any, weights: Any, biases: Any) -> Any:
            for W, b in zip(weights[:-1], biases[:-1], strict=True):
                x = hidden(F.linear(x, W, b))
            return F.linear(x, weights[-1], biases[-1])

        loss = {
            "mse": F.mse_loss,
            "half_mse": lambda y, t: (0.5 * case.layers[-1]) * F.mse_loss(y, t),
            "cross_entropy": F.cross_entropy,
            "binary_cross_entropy": F.binary_cross_entropy_with_logits,
        }[case.loss]
        outputs = {
            "identity": lambda z: z,
            "softmax": lambda z: self.torch.softmax(z, 1),
            "sigmoid": self.torch.sigmoid,
        }[case.output]
        return forward, loss, outputs

    def parameters(self, data: Data, trained: bool) -> tuple[Any, Any]:
        """Return its weights, (n_out, n_in) as `linear` wants them, and biases."""
        tensors = [
            (self.torch.tensor(W.T.copy()), self.torch.tensor(b.copy())) for W, b in data.weights
        ]
        weights, biases = (
            [tensor.requires_grad_(trained) for tensor in column]
            for column in zip(*tensors, strict=True)
        )
        return weights, biases

    def compiled(self, function: Any) -> Any:
        """Return what is run for `function`."""
        return function

    def trainer(self, case: Case, data: Data) -> Trainer:
        return _TorchTrainer(self, case, data)

    def predictor(self, case: Case, data: Data) -> dict[str, Callable[[], Any]]:
        torch = self.torch
        weights, biases = self.parameters(data, False)
        forward, _, outputs = self.functions(case)
        run = self.compiled(lambda x: outputs(forward(x, weights, biases)))

        def predict(X: Any = data.X) -> Any:
            with torch.inference_mode():
                return run(torch.from_numpy(X)).numpy()

        return {"": predict}


class TorchCompile(Torch):
    """PyTorch with `torch.compile` over forward and loss; needs a C++ compiler."""

    def version(self) -> str:
        return super().version() + ", torch.compile"

    def compiled(self, function: Any) -> Any:
        self.torch._dynamo.reset()
        return self.torch.compile(function, dynamic=False)


class _TorchTrainer(Trainer):
    def __init__(self, system: Torch, case: Case, data: Data):
        torch = self.torch = system.torch
        self.weights, self.biases = system.parameters(data, True)
        forward, loss, _ = system.functions(case)
        weights, biases = self.weights, self.biases
        self.value = system.compiled(lambda x, t: loss(forward(x, weights, biases), t))
        rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[case.optimizer]
        self.optimizer = rule([*weights, *biases], lr=case.learning_rate, fused=True)
        self.X, self.y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        self.batch, self.rng = case.batch, np.random.default_rng(0)

    def steps(self, batches: Any) -> Any:
        losses = []
        for rows in batches:
            x, t = self.X.index_select(0, rows), self.y.index_select(0, rows)
            loss = self.value(x, t)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
        return losses

    def losses(self, batches: np.ndarray) -> list[float]:
        return [float(loss) for loss in self.steps(map(self.torch.from_numpy, batches))]

    def epoch(self) -> None:
        order = self.torch.from_numpy(self.rng.permutation(len(self.X)))
        self.steps(order.split(self.batch))


class Jax(System):
    """JAX: an epoch is one jitted `lax.scan` over a matrix of row numbers, its state donated."""

    def __init__(self, threads: int):
        super().__init__(threads)
        import jax

        self.jax = jax
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)
        # A second thread only costs switches where the caller waits for every result.
        jax.config.update("jax_cpu_enable_async_dispatch", False)

    def version(self) -> str:
        from importlib.metadata import version

        return f"JAX {self.jax.__version__} (jaxlib {version('jaxlib')})"

    def functions(self, case: Case) -> tuple[Callable[..., Any], Any, Any]:
        """Return the forward pass to the scores, the loss of scores, and the outputs of scores."""
        jax, jnp = self.jax, self.jax.numpy
        hidden = {
            "relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid,
            "softplus": jax.nn.softplus, "softsign": jax.nn.soft_sign, "identity": lambda x: x,
            "elu": jax.nn.elu, "gelu": partial(jax.nn.gelu, approximate=False),
            "leaky_relu": jax.nn.leaky_relu, "selu": jax.nn.selu, "silu": jax.nn.silu,
        }[case.activation]  # fmt: skip

        def forward(parameters: Any, x: Any) -> Any:
            for W, b in parameters[:-1]:
                x = hidden(x @ W + b)
            W, b = parameters[-1]
            return x @ W + b

        def cross_entropy(z: Any, t: Any) -> Any:
            score = jnp.take_along_axis(z, t[:, None], 1)[:, 0]
            return jnp.mean(jax.nn.logsumexp(z, axis=1) - score)

        loss = {
            "mse": lambda y, t: jnp.mean(jnp.square(y - t)),
            "half_mse": lambda y, t: 0.5 * jnp.mean(jnp.sum(jnp.square(y - t), axis=1)),
            "cross_entropy": cross_entropy,
            "binary_cross_entropy": lambda z, t: jnp.mean(
                jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z)))
            ),
        }[case.loss]
        outputs = {
            "identity": lambda z: z,
            "softmax": lambda z: jax.nn.softmax(z, axis=1),
            "sigmoid": jax.nn.sigmoid,
        }[case.output]
        return forward, loss, outputs

    def trainer(self, case: Case, data: Data) -> Trainer:
        return _JaxTrainer(self, case, data)

    def predictor(self, case: Case, data: Data) -> dict[str, Callable[[], Any]]:
        jax = self.jax
        parameters = jax.device_put(data.weights)
        forward, _, outputs = self.functions(case)
        run = jax.jit(lambda x: outputs(forward(parameters, x)))
        return {"": lambda: np.asarray(run(data.X))}


class _JaxTrainer(Trainer):
    def __init__(self, system: Jax, case: Case, data: Data):
        jax, jnp = system.jax, system.jax.numpy
        self.put = jax.device_put
        parameters = jax.device_put([(W.copy(), b.copy()) for W, b in data.weights])
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state = (parameters, zeros(parameters), zeros(parameters), jnp.zeros((), case.dtype))
        self.X = jax.device_put(data.X)
        self.y = jax.device_put(data.y.astype(np.int32) if data.y.dtype.kind == "i" else data.y)
        forward, loss, _ = system.functions(case)
        value_and_gradient = jax.value_and_grad(lambda p, x, t: loss(forward(p, x), t))
        update = _jax_update(jax, case)

        def epoch(state: Any, X: Any, y: Any, batches: Any) -> Any:
            def step(state: Any, rows: Any) -> Any:
                x, t = X.at[rows].get(mode="clip"), y.at[rows].get(mode="clip")
                value, gradient = value_and_gradient(state[0], x, t)
                return update(state, gradient), value

            return jax.lax.scan(step, state, batches)

        self.run = jax.jit(epoch, donate_argnums=0)
        self.shape, self.rng = (-1, case.batch), np.random.default_rng(0)

    def losses(self, batches: np.ndarray) -> list[float]:
        self.state, losses = self.run(self.state, self.X, self.y, batches.astype(np.int32))
        found: list[float] = np.asarray(losses).tolist()
        return found

    def epoch(self) -> None:
        order = self.rng.permutation(len(self.X)).astype(np.int32)
        self.state, losses = self.run(self.state, self.X, self.y, order.reshape(self.shape))
        losses.block_until_ready()


def _jax_update(jax: Any, case: Case) -> Any:
    """The update of (parameters, m, v, t), written out."""
    jnp, lr, beta1, beta2, eps = jax.numpy, case.learning_rate, 0.9, 0.999, 1e-8

    def sgd(state: Any, gradient: Any) -> Any:
        parameters, *rest = state
        return jax.tree.map(lambda p, g: p - lr * g, parameters, gradient), *rest

    def adam(state: Any, gradient: Any) -> Any:
        parameters, m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradient)
        v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, gradient)
        root = jnp.sqrt(1 - beta2**t)
        rate = lr * root / (1 - beta1**t)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + eps * root), parameters, m, v
        )
        return parameters, m, v, t

    return {"sgd": sgd, "adam": adam}[case.optimizer]


_NO_FLOAT64 = ("elu", "gelu", "leaky_relu", "selu", "softplus", "softsign")  # ONNX Runtime 1.32


class OnnxRuntime(System):
    """ONNX Runtime, which only predicts."""

    def version(self) -> str:
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}"

    def cannot(self, case: Case) -> str | None:
        try:
            import onnx  # noqa: F401
        except ImportError:
            return "needs the package onnx, which makes its model"
        if case.dtype == "float64" and case.activation in _NO_FLOAT64:
            return f"has no {case.activation} of float64"
        return super().cannot(case)

    def predictor(self, case: Case, data: Data) -> dict[str, Callable[[], Any]]:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = ort.InferenceSession(
            _onnx_model(case, data), options, providers=["CPUExecutionProvider"]
        )
        X, Y = data.X, np.empty((case.batch, case.layers[-1]), case.dtype)
        binding = session.io_binding()  # both arrays stay where they are, nothing is copied
        binding.bind_cpu_input("X", X)
        binding.bind_output("Y", "cpu", 0, Y.dtype, Y.shape, Y.ctypes.data)

        def bound() -> Any:
            session.run_with_iobinding(binding)
            return Y

        return {"": lambda: session.run(None, {"X": X})[0], "bound": bound}


def _onnx_model(case: Case, data: Data) -> bytes:
    """Return the bytes of the network as an ONNX graph."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, values, name = [], [], "X"
    kinds = [case.activation] * (len(case.products) - 1) + [case.output]
    for i, ((W, b), kind) in enumerate(zip(data.weights, kinds, strict=True)):
        values += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"Z{i}"]))
        name = f"Z{i}"
        if kind == "identity":
            continue
        if kind == "silu":  # has no operator
            nodes.append(helper.make_node("Sigmoid", [name], [f"S{i}"]))
            nodes.append(helper.make_node("Mul", [name, f"S{i}"], [f"Y{i}"]))
        else:
            operator = kind.title().replace("_", "")
            nodes.append(helper.make_node(operator, [name], [f"Y{i}"]))
        name = f"Y{i}"
    nodes[-1].output[0] = "Y"
    element = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[case.dtype]
    ends = [
        helper.make_tensor_value_info(end, element, [case.batch, n])
        for end, n in (("X", case.layers[0]), ("Y", case.layers[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model)
    text: bytes = model.SerializeToString()
    return text
