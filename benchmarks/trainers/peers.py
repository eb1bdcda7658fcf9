"""Side by side with other libraries: first the same losses from the same weights, then the time."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import statistics
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np

import nncore
from nncore.bench.timing import take_turns

from . import table
from .problems import PROBLEMS
from .race import run_once

NEUROLAB = Path(__file__).with_name("run_neurolab.py")


def sections(seeds, quick=False, neurolab=None):
    """Yield the lines of Markdown for each peer, and why one is left out."""
    for title, made in (
        ("SciPy, on the same C function", lambda: scipy(seeds, quick)),
        ("PyTorch: `LBFGS(line_search_fn=\"strong_wolfe\")`", lambda: torch_lbfgs(seeds, quick)),
        ("PyTorch: `Rprop`", lambda: torch_rprop(quick)),
        ("pyrenn: `train_LM`", lambda: pyrenn(quick)),
        ("neurolab: `train_rprop`", lambda: run_neurolab(neurolab, quick)),
    ):  # fmt: skip
        yield [f"**{title}**", "", *_or_why_not(made), ""]


def _or_why_not(made):
    try:
        return list(made())
    except ImportError as error:
        return [f"Not measured: {error}."]


def paired(cells):
    """The row of a table for pairs (ours, theirs) of (evaluations, seconds), inf where failed."""
    both = [(a, b) for a, b in cells if math.isfinite(a[0]) and math.isfinite(b[0])]
    failed = [sum(not math.isfinite(pair[i][0]) for pair in cells) for i in (0, 1)]
    if not both:
        return ["-"] * 6 + [f"{failed[0]} / {failed[1]}"], math.nan
    ratio = statistics.median(a[0] / b[0] for a, b in both)
    counts = [f"{statistics.median(pair[i][0] for pair in both):.0f}" for i in (0, 1)]
    ms = [table.number(1e3 * statistics.median(pair[i][1] for pair in both)) for i in (0, 1)]
    faster = statistics.median(b[1] / a[1] for a, b in both)
    row = [*counts, f"{ratio:.2f}", *ms, f"{faster:.1f} x", f"{failed[0]} / {failed[1]}"]
    return row, ratio


HEAD = (
    "evaluations", "theirs", "ratio", "ms", "theirs", "faster", "failed, theirs",
)  # fmt: skip


def race_against(trainer, names, seeds, theirs):
    """The table of a trainer against `theirs(problem, data, seed)`, from the same parameters."""
    rows, ratios = [], []
    for name in names:
        problem = PROBLEMS[name]
        data, cells = problem.data(), []
        for seed in range(seeds):
            run = run_once(trainer, problem, data, seed)
            ours = (run.gradients if run.reached else math.inf), run.seconds
            cells.append((ours, theirs(problem, data, seed)))
        row, ratio = paired(cells)
        rows.append((name, *row))
        ratios.append(ratio)
    yield from table.rows_of([(f"`{trainer}`", *HEAD), *rows])
    ratios = [ratio for ratio in ratios if math.isfinite(ratio)]
    yield ""
    yield f"Evaluations, the median of these ratios: {statistics.median(ratios):.2f}"


def _names(quick):
    return ("xor", "sine-5") if quick else tuple(PROBLEMS)


# --- SciPy ----------------------------------------------------------------------------------------


def scipy(seeds, quick):
    """SciPy's minimizers of `Network.theta_to_loss`, beside our own."""
    from scipy.optimize import minimize

    def run(method, problem, data, seed):
        net = problem.network("sgd", seed)
        f = net.theta_to_loss(*data, n_threads=1)

        def over(intermediate_result):
            if intermediate_result.fun <= problem.goal:
                raise StopIteration

        options = {"maxiter": problem.limit, "gtol": 0.0}
        if method == "L-BFGS-B":
            options |= {"ftol": 0.0, "maxfun": problem.limit}
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = minimize(f, net.theta.astype(float), jac=True, method=method, callback=over,
                             options=options)  # fmt: skip
        seconds = time.perf_counter() - start
        reached = found.fun <= problem.goal and f.evaluations <= problem.limit
        return (f.evaluations if reached else math.inf), seconds

    for trainer, method in (("cg", "CG"), ("lbfgs", "L-BFGS-B")):
        yield f"{method} of SciPy {_version('scipy')}, evaluations to the goal:"
        yield ""
        yield from race_against(
            trainer, _names(quick), seeds, lambda *case, method=method: run(method, *case)
        )
        yield ""


# --- PyTorch --------------------------------------------------------------------------------------


def torch_model(net):
    """The same network in PyTorch, without the activation that its loss takes over."""
    import torch

    kinds = {"tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}
    modules = []
    for layer in net.layers:
        linear = torch.nn.Linear(*layer.W.shape, dtype=getattr(torch, net.dtype.name))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.W.T.copy()))
            linear.bias.copy_(torch.from_numpy(layer.b.copy()))
        modules.append(linear)
        if layer.activation in kinds:
            modules.append(kinds[layer.activation]())
    return torch.nn.Sequential(*modules)


def torch_case(problem, data, seed, dtype=None):
    """(model, closure of its loss with the gradient, our network), all with the same weights."""
    import torch

    torch.set_num_threads(1)
    net = problem.network("sgd", seed, dtype)
    model = torch_model(net)
    X, y = data
    X = torch.from_numpy(X.astype(net.dtype))
    y = torch.from_numpy(y if problem.loss == "cross_entropy" else y.astype(net.dtype))
    of = torch.nn.functional.cross_entropy if problem.loss == "cross_entropy" else (
        torch.nn.functional.mse_loss
    )  # fmt: skip
    parameters = list(model.parameters())

    def closure():
        for parameter in parameters:
            parameter.grad = None
        loss = of(model(X), y)
        loss.backward()
        return loss

    check(f"PyTorch on {problem.title}", closure().item(), net.evaluate(*data)["loss"], net.dtype)
    return model, closure, net


def check(what, got, want, dtype, tolerance=None):
    """Raise unless losses are the same but for rounding; return how far they are apart."""
    got, want = np.asarray(got, float), np.asarray(want, float)
    error = float(np.max(np.abs(got - want) / np.abs(want)))
    if not error <= (tolerance or {"float32": 1e-5, "float64": 1e-10}[np.dtype(dtype).name]):
        raise AssertionError(f"{what}: the losses differ by {error:.1e}")
    return error


class _Reached(Exception):
    pass


def torch_lbfgs(seeds, quick):
    """Evaluations and time to the goal; it stops at the first evaluation that is low enough."""
    import torch

    def run(problem, data, seed):
        model, closure, _ = torch_case(problem, data, seed)
        count = itertools.count(1)
        evaluations = 0

        def counted():
            nonlocal evaluations
            evaluations = next(count)
            loss = closure()
            if loss.item() <= problem.goal:
                raise _Reached
            return loss

        optimizer = torch.optim.LBFGS(
            model.parameters(), max_iter=problem.limit, max_eval=problem.limit, history_size=10,
            tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip
        start = time.perf_counter()
        try:
            optimizer.step(counted)
            reached = False
        except _Reached:
            reached = True
        return (evaluations if reached else math.inf), time.perf_counter() - start

    yield from race_against("lbfgs", _names(quick), 3 if quick else min(seeds, 10), run)


def torch_rprop(quick):
    """The same trajectory, and the time of an iteration."""
    import torch

    rows = []
    for name in ("xor", "digits") if quick else ("xor", "parity-6", "sine-20", "digits"):
        problem, iterations = PROBLEMS[name], 30
        data = problem.data()
        for dtype in ("float64", "float32"):
            model, closure, _ = torch_case(problem, data, 0, dtype)
            step = torch.optim.Rprop(model.parameters(), lr=0.01).step
            theirs = []
            for _ in range(iterations):
                theirs.append(step(closure).item())
            net = problem.network(nncore.Rprop("irprop-", step_start=0.01), 0, dtype)
            X, y = data[0].astype(dtype), data[1]
            before = net.evaluate(*data)["loss"]
            history = net.fit(X, y, epochs=iterations, verbose=False, n_threads=1)
            error = check(f"Rprop on {name}", theirs, [before, *history["loss"][:-1]], dtype)
            ours, their = take_turns(
                [
                    lambda net=net, X=X, y=y: net.fit(X, y, epochs=20, verbose=False, n_threads=1),
                    lambda step=step, closure=closure: [step(closure) for _ in range(20)],
                ],
                bursts=5 if quick else 15,
            )
            rows.append(
                (name, dtype, f"{error:.0e}", f"{5e4 * ours:.1f}", f"{5e4 * their:.1f}",
                 f"{their / ours:.1f} x")
            )  # fmt: skip
    yield f'PyTorch {torch.__version__}, as `Rprop("irprop-", step_start=0.01)`; 30 iterations:'
    yield ""
    head = ("problem", "dtype", "losses differ by", "us per iteration", "theirs", "faster")
    yield from table.rows_of([head, *rows])


# --- pyrenn ---------------------------------------------------------------------------------------


def pyrenn(quick):
    """Levenberg-Marquardt damped in the same way, so the trajectory is the same, too."""
    module = _import("pyrenn")
    rows = []
    for name in ("sine-5",) if quick else ("sine-5", "sine-20"):
        problem = PROBLEMS[name]
        X, y = problem.data()
        y = y / np.abs(y).max()  # it scales to that; now the scale is 1
        optimizer = nncore.LevenbergMarquardt(mu=3.0)
        pairs, errors = [], []
        for seed in range(3):
            net = problem.network(optimizer, seed)
            theirs = module.CreateNN(list(problem.layers))
            theirs["w"] = np.concatenate(
                [part for layer in net.layers for part in (layer.W.ravel(), layer.b)]
            )
            start = time.perf_counter()
            history = net.fit(
                X, y, epochs=500, verbose=False, n_threads=1, stop=nncore.Stop(loss=problem.goal)
            )
            seconds = time.perf_counter() - start
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                found = module.train_LM(
                    X.T, y.T, theirs, k_max=len(history["loss"]) + 1, E_stop=problem.goal * y.size
                )
            pairs.append((seconds, time.perf_counter() - start, len(history["loss"])))
            # The history ends before the last error.
            same = found["ErrorHistory"][1:] / y.size
            errors.append(check(f"pyrenn on {name}", same, history["loss"][: len(same)], "float64",
                                1e-4))  # fmt: skip
        ours, their, epochs = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append((name, f"{epochs}", f"{max(errors):.0e}", table.number(1e3 * ours),
                     table.number(1e3 * their), f"{their / ours:.0f} x"))  # fmt: skip
    yield f"pyrenn {_version('pyrenn')}, as `LevenbergMarquardt(mu=3.0)`:"
    yield ""
    head = ("problem", "iterations", "losses differ by", "ms to the goal", "theirs", "faster")
    yield from table.rows_of([head, *rows])


# --- neurolab -------------------------------------------------------------------------------------


def run_neurolab(interpreter, quick):
    """Rprop- of neurolab, which needs NumPy 1, in an interpreter of its own."""
    if interpreter is None:
        try:
            _import("neurolab")
        except ImportError as error:
            advice = "; --neurolab names a Python with neurolab and NumPy below 2"
            raise ImportError(f"{error}{advice}") from None
        raise ImportError("--neurolab names a Python with neurolab and NumPy below 2")
    rows = []
    optimizer = nncore.Rprop("rprop-", step_start=0.07, step_min=1e-9)
    for name in ("sine-5",) if quick else ("xor", "sine-5", "parity-6"):
        problem = PROBLEMS[name]
        X, y = problem.data()
        net = problem.network(optimizer, 0)
        layers = [(layer.W.T.tolist(), layer.b.tolist(), layer.activation) for layer in net.layers]
        before, start = net.evaluate(X, y)["loss"], time.perf_counter()
        epochs = 100
        history = net.fit(X, y, epochs=epochs, verbose=False, n_threads=1)
        seconds = time.perf_counter() - start
        case = {"X": X.tolist(), "y": y.tolist(), "layers": layers, "epochs": epochs}
        try:
            answer = subprocess.run(
                [interpreter, str(NEUROLAB)], input=json.dumps(case), capture_output=True,
                text=True, timeout=120,
            )  # fmt: skip
        except OSError as error:
            raise ImportError(f"{interpreter} does not run ({error})") from None
        if answer.returncode:
            raise ImportError(f"{interpreter} says: {answer.stderr.strip().splitlines()[-1]}")
        found = json.loads(answer.stdout)
        theirs = 2 * np.array(found["errors"]) / y.size  # half the sum of squares
        error = check(f"neurolab on {name}", theirs, [before, *history["loss"][:-1]], "float64",
                      1e-6)  # fmt: skip
        rows.append((name, f"{error:.0e}", f"{1e6 * seconds / epochs:.1f}",
                     f"{1e6 * found['seconds'] / epochs:.1f}",
                     f"{found['seconds'] / seconds:.0f} x"))  # fmt: skip
    yield (
        f"neurolab {found['version']} with NumPy {found['numpy']}, as "
        '`Rprop("rprop-", step_start=0.07, step_min=1e-9)`; 100 iterations:'
    )
    yield ""
    head = ("problem", "losses differ by", "us per iteration", "theirs", "faster")
    yield from table.rows_of([head, *rows])


def _import(name):
    """Import a package that may be too old for this Python or NumPy, or raise ImportError."""
    import importlib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ImportError(f"{name} is not installed") from None
    except Exception as error:  # old packages break on import in many ways: say how, and go on
        text = str(error).splitlines()[0].rstrip(".")
        raise ImportError(
            f"{name} {_version(name)} does not work with NumPy {np.__version__} ({text})"
        ) from None


def _version(package):
    from importlib import metadata

    return metadata.version(package)
