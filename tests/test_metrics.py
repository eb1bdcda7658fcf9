"""Metrics: worked by hand, held against scikit-learn, and named in fit and evaluate."""

import math

import numpy as np
import pytest

import nncore
from nncore import Dense, Network, metrics
from nncore.metrics import (
    accuracy,
    confusion_matrix,
    f1,
    mae,
    mse,
    precision,
    r2,
    recall,
    rmse,
    roc_auc,
    top_k_accuracy,
)

RNG = np.random.default_rng(0)

# ---- worked by hand ----


def test_two_classes_by_hand():
    t, p = [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]  # tp 2, fn 1, fp 1, tn 4
    assert accuracy(t, p) == 6 / 8
    assert precision(t, p) == recall(t, p) == f1(t, p) == 2 / 3
    assert (confusion_matrix(t, p) == [[4, 1], [1, 2]]).all()
    assert f1(t, p, average="macro") == pytest.approx((2 / 3 + 8 / 10) / 2, rel=1e-15)
    w = [2, 1, 0, 0, 1, 1, 1, 1]  # the mistakes count nothing
    assert accuracy(t, p, sample_weight=w) == f1(t, p, sample_weight=w) == 1
    assert confusion_matrix(t, p, sample_weight=w).tolist() == [[4, 0], [0, 3]]
    assert precision([1, 0], [0, 0]) == recall([0, 0], [1, 0]) == f1([0, 0], [0, 0]) == 0
    assert f1([1, 1], [1, 1]) == 1


def test_three_classes_by_hand():
    t, p = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]
    assert confusion_matrix(t, p).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert precision(t, p) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3, rel=1e-15)
    assert recall(t, p) == pytest.approx((1 / 2 + 1 + 1 / 2) / 3, rel=1e-15)
    assert f1(t, p) == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3, rel=1e-15)
    scores = np.eye(3)[p] * 0.8 + 0.1  # the same as probabilities, and one-hot targets
    assert f1(np.eye(3)[t], scores) == f1(t, p) and accuracy(t, scores) == 4 / 6
    # a class that neither is nor is said to be counts nothing
    assert f1([0, 0, 2], np.eye(4)[[0, 2, 2]]) == pytest.approx(2 / 3, rel=1e-15)


def test_questions_by_hand():
    """Rows with any number of ones: each column is a question of its own."""
    t = [[1, 1, 0], [0, 0, 0], [1, 0, 1]]
    p = [[0.9, 0.4, 0.2], [0.6, 0.1, 0.2], [0.7, 0.3, 0.9]]  # yes: 0, 0, 0 and 2
    assert accuracy(t, p) == pytest.approx(7 / 9, rel=1e-15)
    assert precision(t, p) == pytest.approx((2 / 3 + 0 + 1) / 3, rel=1e-15)
    assert recall(t, p) == pytest.approx((1 + 0 + 1) / 3, rel=1e-15)


def test_top_k_by_hand():
    scores = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]]
    assert [top_k_accuracy([1, 2, 1], scores, k=k) for k in (1, 2, 3)] == [0, 2 / 3, 1]
    assert top_k_accuracy([1, 2, 1], scores, k=2, sample_weight=[1, 1, 0]) == 1
    same = np.ones((3, 3))  # of equal scores the first is the higher, as argmax has it
    assert top_k_accuracy([0, 1, 2], same, k=1) == accuracy([0, 1, 2], same) == 1 / 3


def test_area_by_hand():
    assert roc_auc([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]) == 3 / 4
    assert roc_auc([0, 1], [0.5, 0.5]) == 1 / 2
    assert roc_auc([0, 0, 1], [2, 0, 1], sample_weight=[1, 3, 1]) == 3 / 4
    assert math.isnan(roc_auc([1, 1], [0.1, 0.2])) and math.isnan(roc_auc([0, 1], [math.nan, 1]))
    # each class against the rest; one that does not occur is left out
    scores = [[3, 1, 0], [2, 3, 0], [1, 2, 0]]
    assert roc_auc([0, 1, 0], scores) == ((1 / 2 + 1 + 0) / 2 * 0 + (1 / 2 + 1) / 2)


def test_numbers_by_hand():
    t, p = [1.0, 2.0, 6.0], [2.0, 2.0, 4.0]
    assert mae(t, p) == 1 and mse(t, p) == 5 / 3 and rmse(t, p) == math.sqrt(5 / 3)
    assert r2(t, p) == 1 - 5 / 14
    assert mae(t, p, sample_weight=[1, 1, 0]) == 1 / 2
    two = np.column_stack([t, t]), np.column_stack([p, t])
    assert rmse(*two) == math.sqrt(5 / 3) / 2 and r2(*two) == 1 - 5 / 28
    assert r2([2, 2], [2, 2]) == 1 and r2([2, 2], [2, 3]) == 0


def test_weights_are_rows():
    t, p = RNG.integers(0, 3, 40), RNG.random((40, 3))
    w = RNG.integers(0, 3, 40)
    T, P = np.repeat(t, w), np.repeat(p, w, axis=0)
    for metric in (accuracy, precision, recall, f1, roc_auc, top_k_accuracy):
        more = {"k": 2} if metric is top_k_accuracy else {}
        assert metric(t, p, sample_weight=w, **more) == pytest.approx(metric(T, P, **more))
    for metric in (mae, mse, rmse, r2):
        assert metric(p, p[::-1], sample_weight=w) == pytest.approx(
            metric(P, np.repeat(p[::-1], w, axis=0))
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy([0, 1], [0.3, 7.2]), "y_pred has scores, which may mean anything"),
        (lambda: accuracy([0, 1], [0, 1, 1]), "y_true has 2 rows but y_pred has 3"),
        (lambda: accuracy([], []), "y_true must be labels or rows"),
        (lambda: accuracy([0, 1], ["a", "b"]), "labels of different kinds"),
        (lambda: accuracy([0, 1], [0, 1], sample_weight=[1]), "sample_weight has shape"),
        (lambda: accuracy([0, 1], [0, 1], sample_weight=[0, 0]), "sample_weight is 0 for every"),
        (lambda: f1([0, 1, 2], [0, 1, 1], average="binary"), "for two classes, and there are 3"),
        (lambda: f1([0, 1], [0, 1], average="micro"), 'average must be "auto", "binary" or "mac'),
        (lambda: confusion_matrix([[1, 1], [0, 0]], [[1, 1], [0, 1]]), "needs one class for each"),
        (lambda: f1([[1, 1], [0, 0]], [1, 0]), r"y_true has shape \(2, 2\), but y_pred \(2,\)"),
        (lambda: top_k_accuracy([0, 3], np.eye(2)), "y_true must be one label from 0 to 1"),
        (lambda: top_k_accuracy([0, 1], [0, 1]), "y_pred must be scores of shape"),
        (lambda: top_k_accuracy([0, 1], np.eye(2), k=0), "k must be an integer of at least 1"),
        (lambda: roc_auc([0, 1, 2], [1, 2, 3]), "y_true has 3 classes, but y_pred one score"),
        (lambda: roc_auc([0, 1], [1, 2, 3]), "y_true has shape"),
        (lambda: roc_auc(["a", "b"], np.eye(3)[:2]), "y_true has 2 classes, but y_pred 3 scores"),
        (lambda: mae([1, 2], [1, 2, 3]), r"rows of as many numbers, got the shapes \(2,\) and"),
    ],
)
def test_what_has_no_meaning(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- beside scikit-learn ----


@pytest.mark.parametrize("weighted", [False, True])
def test_like_scikit_learn(weighted):
    theirs = pytest.importorskip("sklearn.metrics", reason="compared with scikit-learn")
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, k = int(rng.integers(5, 60)), int(rng.integers(3, 6))
        w = {"sample_weight": rng.random(n) + 0.1 if weighted else None}
        t, P = rng.integers(0, k, n), rng.random((n, k)).round(1)
        t[:k] = range(k)
        P /= P.sum(axis=1, keepdims=True)
        p = P.argmax(axis=1)
        close(accuracy(t, P, **w), theirs.accuracy_score(t, p, **w))
        close(confusion_matrix(t, p, **w), theirs.confusion_matrix(t, p, **w))
        for mine, its in (
            (precision, theirs.precision_score), (recall, theirs.recall_score),
            (f1, theirs.f1_score),
        ):  # fmt: skip
            close(mine(t, p, **w), its(t, p, average="macro", zero_division=0, **w))
            close(mine(t > 0, p > 0, **w), its(t > 0, p > 0, zero_division=0, **w))
            T, D = rng.random((n, k)) > 0.5, rng.random((n, k))
            T[0, :2], T[1, :2] = True, False  # not one-hot
            close(mine(T, D, **w), its(T, D > 0.5, average="macro", zero_division=0, **w))
        distinct = rng.random((n, k))  # theirs sorts equal scores otherwise
        close(top_k_accuracy(t, distinct, k=2, **w),
              theirs.top_k_accuracy_score(t, distinct, k=2, labels=range(k), **w))  # fmt: skip
        close(roc_auc(t > 0, P[:, 0], **w), theirs.roc_auc_score(t > 0, P[:, 0], **w))
        close(roc_auc(t, P, **w), theirs.roc_auc_score(t, P, multi_class="ovr", **w))
        a, b = rng.normal(size=(n, k)), rng.normal(size=(n, k))
        a[:, 0] = 1.5  # constant
        close(mae(a, b, **w), theirs.mean_absolute_error(a, b, **w))
        close(mse(a, b, **w), theirs.mean_squared_error(a, b, **w))
        close(rmse(a, b, **w), theirs.root_mean_squared_error(a, b, **w))
        close(r2(a, b, **w), theirs.r2_score(a, b, **w))


def close(mine, theirs):  # sums of at most some hundred numbers, in another order
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)


# ---- in fit and evaluate ----

X = RNG.normal(size=(60, 4))
LABELS = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)
VALUES = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
WEIGHTS = RNG.integers(1, 4, 60)

# loss -> output, targets, and what the outputs are compared as
SIGNS = 2.0 * (LABELS > 0) - 1
NETWORKS = {
    "cross_entropy": ("softmax", LABELS, lambda out: out),
    "kl_divergence": ("softmax", np.eye(3)[LABELS], lambda out: out),
    "binary_cross_entropy": ("sigmoid", LABELS > 0, lambda out: out),
    "hinge": ("identity", SIGNS, lambda out: np.where(out > 0, 1, -1)),
    "mse": ("identity", np.eye(3)[LABELS], lambda out: out),
    "mae": ("identity", 3.0 * (LABELS > 0) + 1, lambda out: np.where(out > 2.5, 4, 1)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", NETWORKS)
def test_classes_of_each_loss(loss, weighted):
    output, y, meaning = NETWORKS[loss]
    n_out = 1 if np.ndim(y) == 1 and output != "softmax" else 3
    net = Network(4, Dense(5, "tanh"), Dense(n_out, output), loss=loss, seed=0)
    w = {"sample_weight": WEIGHTS} if weighted else {}
    names = ["f1", "precision_macro", "recall", "roc_auc", "accuracy"]
    found = net.evaluate(X, y, metrics=names, **w)
    out = net.predict(X)
    decided = meaning(out if n_out > 1 else out[:, 0])
    assert found["accuracy"] == pytest.approx(accuracy(y, decided, **w))
    assert found["f1"] == pytest.approx(f1(y, decided, **w))
    assert found["recall"] == pytest.approx(recall(y, decided, **w))
    assert found["precision_macro"] == pytest.approx(precision(y, decided, average="macro", **w))
    assert found["roc_auc"] == pytest.approx(roc_auc(y, out, **w))
    if n_out > 1:
        top = net.evaluate(X, y, metrics=["top_2_accuracy", "top_k_accuracy"], **w)
        assert top["top_2_accuracy"] == pytest.approx(top_k_accuracy(y, out, k=2, **w))
        assert top["top_k_accuracy"] == 1
    else:
        with pytest.raises(ValueError, match="top_2_accuracy needs scores for several classes"):
            net.evaluate(X, y, metrics=["top_2_accuracy"])


def test_several_answers():
    Y = VALUES > 0
    net = Network(4, Dense(5, "tanh"), Dense(2, "sigmoid"), seed=0)
    found = net.evaluate(X, Y, metrics=["f1", "roc_auc", "precision"])
    out = net.predict(X)
    assert found["accuracy"] == pytest.approx(((out > 0.5) == Y).mean())
    assert found["f1"] == pytest.approx(np.mean([f1(Y[:, j], out[:, j]) for j in range(2)]))
    assert found["precision"] == pytest.approx(precision(Y, out))
    assert found["roc_auc"] == pytest.approx(roc_auc(Y, out))


def test_numbers_of_each_loss():
    for loss, n_out, meaning in (
        ("mse", 2, lambda out: out), ("huber", 2, lambda out: out),
        ("gaussian_nll", 4, lambda out: out[:, :2]), ("poisson", 2, np.exp),
    ):  # fmt: skip
        y = VALUES**2 if loss == "poisson" else VALUES
        net = Network(4, Dense(5, "tanh"), Dense(n_out), loss=loss, seed=0, dtype="float64")
        found = net.evaluate(X, y, metrics=["mae", "mse", "rmse", "r2"], sample_weight=WEIGHTS)
        for metric in (mae, mse, rmse, r2):
            expected = metric(y, meaning(net.predict(X)), sample_weight=WEIGHTS)
            assert found[metric.__name__] == pytest.approx(expected, rel=1e-12), (loss, metric)


def test_functions_of_the_users():
    seen = []

    def spread(y_true, y_pred):
        seen.append((y_true.shape, y_pred.shape, y_true.flags.writeable))
        return np.float32(np.ptp(y_pred))

    def weight(y_true, y_pred, sample_weight=None):
        return -1 if sample_weight is None else sample_weight.sum()

    net = Network(4, Dense(1), seed=0)
    named = {"mine": spread, "other": "mae", "weight": weight}
    found = net.evaluate(X, VALUES[:, 0], metrics=named)
    assert list(found) == ["loss", "mine", "other", "weight"] and type(found["mine"]) is float
    assert found["mine"] == pytest.approx(np.ptp(net.predict(X))) and found["weight"] == -1
    assert seen == [((60,), (60,), False)]
    found = net.evaluate(X, VALUES[:, :1], metrics=[spread, weight], sample_weight=WEIGHTS)
    assert found["weight"] == WEIGHTS.sum() and seen[1] == seen[0]
    softmax = Network(4, Dense(3, "softmax"), seed=0)
    softmax.evaluate(X, LABELS, metrics=[spread])
    assert seen[2][:2] == ((60,), (60, 3))
    theirs = pytest.importorskip("sklearn.metrics", reason="compared with scikit-learn")
    loss = softmax.evaluate(X, LABELS, metrics=[theirs.log_loss], sample_weight=WEIGHTS)
    assert loss["log_loss"] == pytest.approx(loss["loss"], rel=1e-5)


def test_in_the_history():
    net = Network(4, Dense(5, "tanh"), Dense(3, "softmax"), seed=0)
    V, v = X[:20] + 0.1, LABELS[:20]
    history = net.fit(
        X, LABELS, epochs=3, verbose=0, validation_data=(V, v), metrics=["f1", "accuracy"],
        train_metrics=["recall", "accuracy"],
    )  # fmt: skip
    assert list(history) == ["loss", "recall", "accuracy", "val_loss", "val_accuracy", "val_f1"]
    assert {len(column) for column in history.values()} == {3}
    last = net.evaluate(V, v, metrics=["f1"])
    assert history["val_f1"][-1] == last["f1"] and history["val_accuracy"][-1] == last["accuracy"]
    last = net.evaluate(X, LABELS, metrics=["recall"])
    assert history["recall"][-1] == last["recall"] and history["accuracy"][-1] == last["accuracy"]
    twin = Network(4, Dense(5, "tanh"), Dense(3, "softmax"), seed=0)
    twin.fit(X, LABELS, epochs=3, verbose=0)
    assert net.theta.tobytes() == twin.theta.tobytes()  # looking changes nothing


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metrics": ["f1"]}, ValueError, "metrics are of the validation data: give validation_d"),
        ({"train_metrics": ["f2"]}, ValueError, "no metric 'f2'; known: accuracy, precision"),
        ({"train_metrics": ["accuracy_macro"]}, ValueError, "no metric 'accuracy_macro'"),
        ({"train_metrics": ["mae"]}, ValueError, "mae is of numbers, and the targets of this netw"),
        ({"train_metrics": "f1"}, TypeError, r'metrics must be a list, such as \["f1"\]'),
        ({"train_metrics": [3]}, TypeError, r"a metric is a name or a function \(y_true, y_pred\)"),
        ({"train_metrics": [lambda t, p: 0]}, ValueError, "needs a name of its own"),
        ({"train_metrics": {"loss": "f1"}}, ValueError, "needs a name of its own"),
        ({"train_metrics": ["f1", "f1"]}, ValueError, "a metric is there twice: f1, f1"),
    ],
)
def test_metrics_that_fit_refuses(options, error, message):
    net = Network(4, Dense(3, "softmax"), seed=0)
    before = net.theta.copy(), str(net._rng.bit_generator.state)
    with pytest.raises(error, match=message):
        net.fit(X, LABELS, verbose=0, **options)
    assert (net.theta == before[0]).all() and str(net._rng.bit_generator.state) == before[1]


def test_metrics_of_classes_of_numbers_are_refused():
    net = Network(4, Dense(2), seed=0)
    with pytest.raises(ValueError, match="f1 needs classes, and the targets of this network are n"):
        net.evaluate(X, VALUES, metrics=["f1"])
    with pytest.raises(TypeError, match="metric mine must return a number, got 'high'"):
        net.evaluate(X, VALUES, metrics={"mine": lambda t, p: "high"})


def test_the_module_says_what_it_has():
    for name in metrics.__all__:
        assert getattr(nncore.metrics, name).__doc__
