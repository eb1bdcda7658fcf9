"""nncore.sklearn among scikit-learn's tools: its checks, pipelines, searches, frames, callbacks."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='needs pip install ".[sklearn]"')
import joblib
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import nncore
from nncore.sklearn import MLPClassifier, MLPRegressor

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
IRIS = load_iris(return_X_y=True)
DIGITS = load_digits(return_X_y=True)[0] / 16, load_digits().target
DIABETES = load_diabetes(return_X_y=True)[0], load_diabetes().target / 100
BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# None of scikit-learn's checks is expected to fail.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([
    MLPClassifier(),
    MLPRegressor(),
    MLPClassifier((20, 10), ["tanh", "gelu"], solver=nncore.Adam(0.01), init="he_normal"),
    MLPRegressor("huber", 20, "silu", solver="nadam", n_threads=1),
])  # fmt: skip
def test_estimator(estimator, check):
    check(estimator)


# ---- tools ---------------------------------------------------------------------------------------


def test_grid_search_with_processes():
    grid = {"hidden_layer_sizes": [(5,), (8, 4)], "solver": ["adam", nncore.AdamW(0.01)]}
    search = GridSearchCV(MLPClassifier(max_iter=20, random_state=0), grid, cv=2, n_jobs=2)
    search.fit(*IRIS)
    alone = clone(search.best_estimator_).fit(*IRIS)
    assert np.array_equal(search.predict_proba(IRIS[0]), alone.predict_proba(IRIS[0]))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("library", ["pandas", "polars"])
@BOTH
def test_frames(kind, library, recwarn):
    frames = pytest.importorskip(library, reason="frames of a package that is not installed")
    X, y = IRIS
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    column = frames.Series(y)
    model = kind(max_iter=300, tol=0.1, early_stopping=True, random_state=0)
    scaler = StandardScaler().set_output(transform=library)
    pipeline = make_pipeline(scaler, model).fit(frame, column)
    assert list(pipeline[-1].feature_names_in_) == names
    assert len(pipeline.predict(frame)) == len(X)
    model.fit(frame, column, sample_weight=frames.Series(np.ones(len(y))))
    same = kind(**model.get_params()).fit(X, y)
    assert np.array_equal(same.network_.theta, model.network_.theta)
    assert not [w for w in recwarn if "feature names" in str(w.message)]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


@BOTH
def test_copies_go_on_alike(kind, tmp_path):
    X, y = IRIS
    model = kind(hidden_layer_sizes=7, random_state=0, max_iter=3, dropout=0.1).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    copies = [
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        joblib.load(tmp_path / "model.joblib"),
        joblib.load(tmp_path / "model.joblib", mmap_mode="r"),
    ]
    model.partial_fit(X, y)
    for other in copies:
        other.partial_fit(X, y)
        assert np.array_equal(other.network_.theta, model.network_.theta)
        assert other.loss_curve_ == model.loss_curve_ and other.t_ == 4 * len(X)


def test_the_network_is_one_of_nncore(tmp_path):
    X, y = make_multilabel_classification(n_samples=40, random_state=0)
    model = MLPClassifier(9, random_state=0, alpha=2.0, max_iter=5).fit(X, y)
    model.network_.save(tmp_path / "net.safetensors")
    network = nncore.load(tmp_path / "net.safetensors")
    assert np.array_equal(network.predict(X), model.predict_proba(X))
    assert network.loss == nncore.Loss("binary_cross_entropy", mean="rows")
    assert network.trace(X[:1], y[:1]).verify()
    p = np.clip(model.predict_proba(X), 1e-15, 1 - 1e-15)
    terms = y * np.log(p) + (1 - y) * np.log1p(-p)
    penalty = sum((w**2).sum() for w in model.coefs_) / len(X)  # alpha / 2 = 1
    assert network.evaluate(X, y)["loss"] == pytest.approx(-terms.sum(axis=1).mean() + penalty)
    assert nncore.check_gradients(network, X, y)


def test_coefs_are_the_network():
    X, y = IRIS
    model = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
    model.coefs_[0][:] = 0
    model.intercepts_[0] = np.zeros(5)
    assert not model.network_.layers[0].W.any() and not model.network_.layers[0].b.any()
    assert np.ptp(model.predict_proba(X), axis=0).max() == 0
    other = MLPClassifier(5, random_state=1, max_iter=3).fit(X, y)
    model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    assert np.array_equal(model.predict_proba(X), other.predict_proba(X))
    with pytest.raises(ValueError, match=r"shape \(4, 5\)"):
        model.coefs_[0] = np.zeros(5)
    with pytest.raises(ValueError, match="2 arrays"):
        model.coefs_ = model.coefs_[:1]
    for name in ("coefs_", "intercepts_"):
        with pytest.raises(AttributeError, match="before fit"):
            getattr(MLPClassifier(), name)


def test_sparse_rows_are_dense_a_block_at_a_time():
    rows, columns = 30_000, 1_000  # 240 MB if it were dense
    rng = np.random.default_rng(0)
    X = sparse.random_array((rows, columns), density=1e-3, format="csr", rng=rng)
    y = rng.integers(0, 3, rows)
    model = MLPClassifier(2, max_iter=1, early_stopping=True, random_state=0)
    tracemalloc.start()
    model.fit(X, y).predict(X)
    model.set_params(solver="lbfgs").fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 90e6


def test_importing(tmp_path):
    """nncore.sklearn is lazy, in no way of scikit-learn's own name, and says what is missing."""
    code = """
import sys, nncore
assert "sklearn" not in sys.modules
assert nncore.sklearn.MLPClassifier.__module__.startswith("nncore.sklearn")
assert sys.modules["sklearn"] is not nncore.sklearn
assert "sklearn.neural_network" not in sys.modules and "sklearn.model_selection" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    code = """
import sys
sys.modules["sklearn"] = None
try:
    import nncore.sklearn
except ImportError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert 'pip install "nncore-c[sklearn]"' in said.stdout


# ---- callbacks -----------------------------------------------------------------------------------


class Recorder:
    """A callback of scikit-learn that stops after some epochs."""

    def __init__(self, epochs=None):
        self.calls, self.scores, self.epochs = [], [], epochs

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.calls.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return estimator.n_iter_ == self.epochs


@pytest.mark.skipif(VERSION < (1, 9), reason="scikit-learn has callbacks from 1.9 on")
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "scg"])
def test_callbacks(solver):
    recorder = Recorder(3)
    model = MLPClassifier(9, solver=solver, random_state=0, max_iter=9).set_callbacks(recorder)
    model.fit(*IRIS)
    epochs = ["begin epoch", "end epoch"] * 3
    assert recorder.calls == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert recorder.scores[-1] == model.score(*IRIS) == recorder.scores[-2]
    plain = MLPClassifier(9, solver=solver, random_state=0, max_iter=3).fit(*IRIS)
    assert np.array_equal(plain.network_.theta, model.network_.theta)


@pytest.mark.skipif(VERSION < (1, 9), reason="scikit-learn has callbacks from 1.9 on")
def test_callbacks_are_torn_down_after_an_error():
    recorder = Recorder()
    with pytest.raises(ValueError):
        MLPRegressor("poisson").set_callbacks(recorder).fit(IRIS[0], -IRIS[1])
    assert recorder.calls == ["setup", "begin fit", "teardown"]


# ---- what scikit-learn's own tests look at -------------------------------------------------------


def test_worked_example():
    """One step of 3-2-1 by hand: h = (0.679179, 0.574443), o = 0.765433, o - y = 0.765433."""
    init = [[[0.1, 0.2], [0.3, 0.1], [0.5, 0]], [[0.1], [0.2]], [0.1, 0.1], [1.0]]
    model = MLPClassifier(
        2, "logistic", solver="sgd", learning_rate_init=0.1, alpha=0.1, momentum=0, init=init
    )
    model.partial_fit([[0.6, 0.8, 0.7]], [0], classes=[0, 1])
    want = [
        [[0.098, 0.195756], [0.2956664, 0.096008], [0.4938325, -0.0026197]],
        [[0.04706], [0.154089]], [0.098333, 0.09626], [0.9235],
    ]  # fmt: skip
    for got, wanted in zip(model.coefs_ + model.intercepts_, want, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)  # by hand
    assert model.predict_proba([[0.6, 0.8, 0.7]])[0, 1] == pytest.approx(0.739, abs=1e-3)


@BOTH
def test_alpha_shrinks_weights(kind):
    sizes = [
        sum(
            np.abs(w).sum()
            for w in kind(hidden_layer_sizes=9, alpha=a, random_state=0).fit(*IRIS).coefs_
        )
        for a in (0, 1, 10)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_lbfgs_learns(activation):
    model = MLPClassifier(30, activation, solver="lbfgs", max_iter=150, random_state=1)
    assert model.fit(DIGITS[0][:300], DIGITS[1][:300]).score(*DIGITS) > 0.8
    model = MLPRegressor(
        hidden_layer_sizes=30, activation=activation, solver="lbfgs", max_iter=200, random_state=1
    )
    assert model.fit(*DIABETES).score(*DIABETES) > 0.5


def test_lbfgs_stops_at_max_fun_and_max_iter():
    for limits in ({"max_fun": 10}, {"max_iter": 10}):
        model = MLPRegressor(solver="lbfgs", tol=0.0, random_state=0, **limits)
        with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
            model.fit(*DIABETES)
        assert model.n_iter_ <= 10


@pytest.mark.parametrize("tol", [0, 1e-9])
def test_poisson_without_hidden_layer_is_the_linear_model(tol):
    X = np.linspace(0, 1, 100).reshape(-1, 1)
    y = np.random.default_rng(0).poisson(np.exp(X.ravel() + 1))
    linear = PoissonRegressor(alpha=tol, tol=1e-9).fit(X, y)
    model = MLPRegressor("poisson", (), solver="lbfgs", tol=1e-7, alpha=tol, random_state=0)
    np.testing.assert_allclose(model.fit(X, y).predict(X), linear.predict(X), rtol=1e-4)
    assert model.out_activation_ == "exp"


def test_partial_fit_and_classes():
    X, y = IRIS
    model = MLPClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    model.partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    model.partial_fit(X[50:], y[50:])
    before = model.network_.theta.copy()
    for wrong in ({"y": y + 1}, {"y": y, "classes": [0, 1, 2, 3]}):
        with pytest.raises(ValueError, match="classes"):
            model.partial_fit(X, **wrong)
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit(X[:, :3], y)
    assert np.array_equal(model.network_.theta, before)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    assert not hasattr(MLPRegressor(solver="scg"), "partial_fit")
    assert hasattr(MLPRegressor(solver="adamw"), "partial_fit")
    for kind in (MLPClassifier, MLPRegressor):
        model = kind(early_stopping=True, max_iter=2).fit(X, y)
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
            model.partial_fit(X, y)


def test_warm_start_asks_for_the_same_classes():
    X, y = IRIS
    model = MLPClassifier(4, warm_start=True, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"Previously got \[0 1 2\], `y` has \[0 1\]"):
        model.fit(X, (y > 0).astype(int))
    with pytest.raises(ValueError, match="outputs"):
        MLPRegressor(warm_start=True, max_iter=2).fit(X, y).fit(X, np.c_[y, y])


@pytest.mark.parametrize(
    "names", [np.array(["a", "b", "c"]), np.array(["a", "b", "c"], object), np.array([-1.0, 7, 9])]
)
def test_labels_of_any_type(names):
    X, y = IRIS
    model = MLPClassifier(max_iter=60, early_stopping=True, random_state=0).fit(X, names[y])
    same = MLPClassifier(max_iter=60, early_stopping=True, random_state=0).fit(X, y)
    assert np.array_equal(model.classes_, names)
    assert np.array_equal(model.predict(X), names[same.predict(X)])
    assert model.score(X, names[y]) == same.score(X, y)


def test_diverging_keeps_the_best_weights_or_raises():
    X, y = IRIS
    model = MLPRegressor(
        activation="identity", solver="sgd", learning_rate_init=1.0, early_stopping=True,
        random_state=0,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match="Training diverged in iteration"):
        model.fit(X, y)
    assert np.isnan(model.validation_scores_[-1]) and np.isfinite(model.predict(X)).all()
    assert type(model.validation_scores_[-1]) is float
    fitted = MLPRegressor(max_iter=3).fit(X, y)
    before = fitted.predict(X)
    fitted.set_params(activation="identity", solver="sgd", learning_rate_init=1.0, max_iter=200)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        fitted.fit(X, y)
    assert np.array_equal(fitted.predict(X), before)  # a first fit that fails changes nothing
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(solver="scg").fit(X * 1e200, y)


def interrupted(model, y):
    """Fit with a Ctrl-C after 0.3 s; return whether it came through.

    Python drops one that falls into a destructor or a callback of the collection of garbage.
    """
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has none
    timer.start()
    try:
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            model.fit(DIGITS[0], y)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, handler)
    return any("Training interrupted by user" in str(warning.message) for warning in met)


@pytest.mark.parametrize(("solver", "most"), [("adam", 20_000), ("lbfgs", 10_000)])
def test_ctrl_c_leaves_a_model(solver, most):
    model = MLPClassifier(30, solver=solver, max_iter=most, tol=0, n_iter_no_change=np.inf,
                          max_fun=10**9, random_state=0)  # fmt: skip
    y = np.random.default_rng(0).integers(0, 10, len(DIGITS[1]))  # nothing to learn
    assert any(interrupted(model, y) for _ in range(4))
    assert len(model.loss_curve_) == model.n_iter_ < most
    assert len(model.predict(DIGITS[0])) == len(y)


def test_refusals():
    X, y = IRIS
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    for parameters, error in (
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0, got"),
        ({"activation": "rely"}, 'Did you mean "relu"'),
        ({"activation": ["relu", "tanh"]}, "one for each of the 1 hidden layers"),
        ({"solver": "adamm"}, 'Did you mean "adam'),
        ({"momentum": 1.0}, "'momentum' parameter"),
        ({"early_stopping": True, "validation_fraction": 0.005}, "validation set is too small"),
        ({"init": [np.zeros((4, 100))]}, "init has 1 arrays; expected the 2 of coefs_"),
        ({"init": [np.zeros((4, 9)), np.zeros((9, 3))]}, r"init\[0\] has shape"),
        ({"loss": "hinge"}, "probabilities"),
        ({"dropout": 0.1, "solver": "lbfgs"}, "dropout needs a solver that takes batches"),
        ({"dropout": 0.1, "solver": "scg"}, "dropout needs a solver .* not solver='scg'"),
        ({"dropout": 1.5}, "dropout"),
        ({"n_threads": 0}, "n_threads"),
        ({"class_weight": {7: 2.0}}, "class_weight"),
    ):
        model = MLPClassifier(**parameters)
        with pytest.raises(ValueError, match=error):
            model.fit(X, y)
        assert not hasattr(model, "network_") and not hasattr(model, "n_features_in_")
    with pytest.raises(ValueError, match="sample_weight must be 0 or between"):
        MLPClassifier().fit(X, y, -np.ones(len(y)))
    with pytest.raises(ValueError, match="scg.*X is sparse|takes all rows"):
        MLPClassifier(solver="scg").fit(sparse.csr_array(X), y)
    with pytest.raises(ValueError, match="targets of at least 0"):
        MLPRegressor("poisson").fit(X, -y)
    with pytest.raises(ValueError, match="needs all rows"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize(
    "kind, parameters, two, message",
    [
        (MLPClassifier, {"activation": "softmax"}, False, "activation='softmax'.* hidden layers"),
        (MLPRegressor, {"activation": ["log_softmax"]}, False, "activation=.* hidden layers"),
        (MLPClassifier, {"loss": "focal"}, False, "loss='focal' .*labels, .*multiclass;.*log_loss"),
        (MLPClassifier, {"loss": "cross_entropy"}, True, "loss='cross_entropy' .* y is binary"),
        (MLPRegressor, {"loss": "focal"}, False, "loss='focal' .* MLPClassifier"),
        (MLPRegressor, {"loss": "log_loss"}, False, "loss='log_loss' .* MLPClassifier"),
        (MLPClassifier, {"solver": "lm"}, False, "solver='lm' needs loss="),
        (MLPRegressor, {"solver": "bayesian"}, False, "solver='bayesian' .* set alpha=0"),
        (MLPRegressor, {"hidden_layer_sizes": (2.5,)}, False, "hidden_layer_sizes .* integers"),
    ],
)
def test_refusals_name_parameters_of_the_estimator(kind, parameters, two, message):
    """And not layers, or arguments of Network, that users of an estimator have never seen."""
    X, y = IRIS
    with pytest.raises(ValueError, match=message):
        kind(**parameters).fit(X, y > 0 if two else y)


def test_what_refusals_advise():
    X, y = IRIS
    limits = {"hidden_layer_sizes": 5, "max_iter": 3, "random_state": 0}
    with pytest.warns(ConvergenceWarning):
        MLPRegressor(solver="bayesian", alpha=0, **limits).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        MLPClassifier(solver="lm", loss="squared_error", **limits).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        MLPClassifier(loss=nncore.Loss("focal", gamma=1.0), **limits).fit(X, y > 0)
