"""Ctrl-C: it is answered at once, after a whole step, and the network can be used on."""

import contextlib
import copy
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nncore
from nncore import SGD, Dense, Network

from .networks import next_order

ISAS = nncore.get_config()["runnable"]
LIMIT = 2.0  # seconds; generous, for machines that are busy with other things

# Never so under plain pytest: only where a program runs it in a thread of its own.
pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(),
    reason="Python answers signals in the main thread only",
)


# On Linux and macOS these run. Windows has no way to send a signal at a set moment; the tests that
# only need one some time later, by `interrupted`, run there as well.
needs_timer = pytest.mark.skipif(
    not hasattr(signal, "setitimer"),
    reason="only on Windows: without signal.setitimer no signal strikes at a set moment",
)


class Interrupt:
    """Sends Ctrl-C a while after `ready()`, and measures how long it takes to be noticed."""

    def __init__(self, ready, after):
        self.ready, self.after, self.sent, self.latency = ready, after, None, None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True)

    def _send(self):
        while not self.ready() and not self.over.wait(0.002):
            pass
        if not self.over.wait(self.after):
            self.sent = time.perf_counter()
            signal.raise_signal(signal.SIGINT)

    def __enter__(self):
        self.handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.thread.start()
        return self

    def __exit__(self, kind, error, traceback):
        now = time.perf_counter()
        self.over.set()
        self.thread.join()
        signal.signal(signal.SIGINT, self.handler)
        if kind is KeyboardInterrupt:
            self.latency = now - self.sent
        return kind is KeyboardInterrupt


def interrupted(record, what, run, ready=lambda: True, after=0.1):
    """Interrupt `run`, which must not end by itself; check and report the latency."""
    with Interrupt(ready, after) as interrupt:
        run()
    assert interrupt.latency is not None, "it ended by itself"
    print(f"\nCtrl-C answered after {1e3 * interrupt.latency:.1f} ms: {what}")
    record("latency_ms", f"{1e3 * interrupt.latency:.1f}")
    assert interrupt.latency < LIMIT


def replay(network, X, y, n_updates, batch_size):
    """Do the first steps of a fit on its own, in calls that end after a whole step."""
    per_epoch = -(-len(X) // batch_size)
    epochs, steps = divmod(n_updates, per_epoch)
    if epochs:
        network.fit(X, y, epochs=epochs, batch_size=batch_size, verbose=False)
    if steps:
        order = next_order(network._rng, len(X))[: steps * batch_size]
        network.fit(X[order], y[order], batch_size=batch_size, shuffle=False, verbose=False)
    assert network._engine.n_updates == n_updates


def assert_usable(network, X, y):
    before = network._engine.n_updates
    network.partial_fit(X[:8], y[:8])
    network.fit(X[:8], y[:8], epochs=2, batch_size=8, verbose=False)
    assert network._engine.n_updates == before + 3
    assert np.isfinite(network.predict(X[:8])).all()


SMALL = {
    # name: rows, batch_size; what a Ctrl-C meets: Python between short epochs, or a long epoch
    "short epochs": (8, 8),
    "online, one long epoch": (1_500_000, 1),
    "batches, long epochs": (1_500_000, 32),
}


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_small_network(case, optimizer, record_property):
    rows, batch_size = SMALL[case]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3)).astype("float32")
    y = X[:, :1] * X[:, 1:2]
    network = Network(3, Dense(6, "tanh"), Dense(1), optimizer=optimizer, seed=0)
    twin = network.copy()
    interrupted(
        record_property, f"3-6-1, {case}",
        lambda: network.fit(X, y, epochs=10**7, batch_size=batch_size, verbose=False),
        lambda: network._engine.n_updates > 100,
    )  # fmt: skip
    n_updates = network._engine.n_updates
    assert n_updates > 100
    assert np.isfinite(network.theta).all()
    replay(twin, X, y, n_updates, batch_size)
    assert network.theta.tobytes() == twin.theta.tobytes()
    assert network._engine.state.tobytes() == twin._engine.state.tobytes()
    assert_usable(network, X, y)


BIG = [(ISAS[0], "float32"), *((isa, "float64") for isa in ISAS)]


@pytest.mark.parametrize(("isa", "dtype"), BIG)
def test_big_network(isa, dtype, record_property):
    """1024-1024-1024 with batches of 2048; where a step would take seconds, 32 outputs."""
    n_out = 1024 if isa == ISAS[0] else 32
    rng = np.random.default_rng(0)
    rows = np.lib.stride_tricks.sliding_window_view(rng.normal(size=70_000 + 1023).astype(dtype),
                                                    1024)  # fmt: skip
    labels = rng.integers(0, n_out, len(rows))
    network = Network(
        1024, Dense(1024, "relu"), Dense(n_out, "softmax"), optimizer=SGD(0.01, momentum=0.9),
        dtype=dtype, seed=0, backend=isa,
    )  # fmt: skip
    start, rng_before = network.theta.copy(), copy.deepcopy(network._rng)
    # Called with what fit has checked, or the check would take the time that is to be measured.
    order = rng_before.permutation(len(rows))
    interrupted(
        record_property, f"1024-1024-{n_out}, batches of 2048, {isa}, {dtype}",
        lambda: network._engine.train(rows, labels, order, 2048),
        lambda: network._engine.n_updates > 0, after=0.05,
    )  # fmt: skip
    n_updates = network._engine.n_updates
    assert n_updates > 0 and np.isfinite(network.theta).all()
    reached = network.theta.copy(), network._engine.state.copy()
    network.theta = start
    network.optimizer = network.optimizer
    network._engine.train(rows, labels, order[: n_updates * 2048], 2048)
    assert network._engine.n_updates == n_updates
    assert network.theta.tobytes() == reached[0].tobytes()
    assert network._engine.state.tobytes() == reached[1].tobytes()
    assert_usable(network, rows, labels)


@pytest.mark.parametrize("use", ["predict", "evaluate", "loss_and_gradient"])
def test_other_calls(use, record_property):
    network = Network(256, Dense(1024, "tanh"), Dense(1024, "tanh"), Dense(1), seed=0)
    X = np.broadcast_to(np.full(256, 0.1, "float32"), (10**6, 256))
    y = np.zeros((10**6, 1), "float32")
    before = network.theta.tobytes()
    engine = network._engine
    call = {
        "predict": lambda: engine.predict(X, np.empty((10**6, 1), "float32")),
        "evaluate": lambda: engine.loss(X, y),
        "loss_and_gradient": lambda: engine.loss_and_gradient(X, y, np.empty_like(network.theta)),
    }[use]
    interrupted(record_property, use, call)
    assert network.theta.tobytes() == before
    assert_usable(network, X, y)


SCRIPT = """
import signal
import numpy as np, nncore
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20000, 20)), rng.integers(0, 3, 20000)
net = nncore.Network(20, nncore.Dense(50, "tanh"), nncore.Dense(3, "softmax"), seed=0)
print("ready", flush=True)
try:
    net.fit(X, y, epochs=10**6, verbose={verbose})
finally:
    print(net._engine.n_updates, bool(np.isfinite(net.theta).all()), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("verbose", [False, True])
def test_a_program_ends_as_programs_do(verbose, tmp_path, record_property):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(verbose=verbose)], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            start = time.perf_counter()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            latency = time.perf_counter() - start
        finally:
            process.kill()
    print(f"\nprocess ended {1e3 * latency:.1f} ms after Ctrl-C")
    record_property("latency_ms", f"{1e3 * latency:.1f}")
    assert latency < LIMIT
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt") and "Error" not in err
    n_updates, finite = out.split()
    assert int(n_updates) > 0 and finite == "True"


@needs_timer
def test_a_handler_sees_the_network_as_it_is_and_may_change_it():
    """Also where it learns online, in a form of its own: a checkpoint, and a value set by hand."""
    X = np.random.default_rng(0).standard_normal((400_000, 4)).astype("float32")
    network = Network(4, Dense(8, "tanh"), Dense(1), seed=1, optimizer=SGD(1e-3))
    twin, copies = network.copy(), []

    def handler(*_):
        if not copies and network._engine.n_updates > 0:  # a busy machine may not be there yet
            signal.setitimer(signal.ITIMER_REAL, 0)
            copies.append(network.copy())
            network.layers[1].b[:] = 1000

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        network.fit(X, X.sum(1), batch_size=1, shuffle=False, verbose=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    [seen] = copies
    steps = seen._engine.n_updates
    assert 0 < steps < len(X)
    for part in (slice(0, steps), slice(steps, None)):
        twin.fit(X[part], X[part].sum(1), batch_size=1, shuffle=False, verbose=False)
        if part.start == 0:
            assert (seen.theta == twin.theta).all()
            twin.layers[1].b[:] = 1000
    assert (network.theta == twin.theta).all()


@needs_timer
@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_wherever_it_strikes_the_network_is_not_left_locked(call):
    """Signals are answered between any two bytecodes too, for example next to the lock."""
    network = Network(2, Dense(4, "tanh"), Dense(1), seed=0)
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]], "float32"), np.zeros((4, 1), "float32")
    run = {
        "partial_fit": lambda: network.partial_fit(X, y),
        "fit": lambda: network.fit(X, y, verbose=False),
    }[call]
    armed = False

    def strike(*_):
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    start = time.perf_counter()
    for _ in range(200):
        run()
    duration = (time.perf_counter() - start) / 200
    rng, strikes, calls = random.Random(0), 0, 0
    handler = signal.signal(signal.SIGALRM, strike)
    try:
        while calls < 4000 or (strikes <= 200 and calls < 40_000):  # more beside other work
            calls += 1
            with contextlib.suppress(KeyboardInterrupt):
                armed = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.1, 2) * duration)
                run()
                armed = False
            strikes += signal.setitimer(signal.ITIMER_REAL, 0)[0] == 0
            armed = False
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert strikes > 200
    run()
    assert np.isfinite(network.theta).all()


@pytest.mark.parametrize("module", ["argparse", "nncore.commands", "nncore.bench"])
def test_the_command_while_it_imports(module, tmp_path):
    """No traceback, and the status that a shell gives a program which SIGINT has ended."""
    program = f"""
import sys, nncore.cli
class Interrupt:
    def find_spec(name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt)
sys.modules.pop({module!r}, None)
sys.exit(nncore.cli.main(["info"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "nncore: error: interrupted\n")
