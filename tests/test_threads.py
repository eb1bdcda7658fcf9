"""Threads: how many are used, that their number changes no bit, and forks at any time."""

import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import nncore
from nncore import Dense, Network, threads

from .checks import assert_same_bits, noise
from .test_interrupt import interrupted

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FORKS = int(os.environ.get("NNCORE_TEST_FORKS", "100"))


def python(code, cwd, *arguments, timeout=120, **environment):
    """What a program prints that imports nncore and uses `big` and `data`; it must end in time."""
    variables = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    program = cwd / "program.py"
    program.write_text(COMMON + code)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(program), *arguments], cwd=cwd,
        env=variables | environment, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    return done.stdout.split()


COMMON = """
import os, signal, sys, threading, time
import numpy as np
import nncore

def big(seed=0, width=200):
    return nncore.Network(60, nncore.Dense(width, "tanh"), nncore.Dense(170, "relu"),
                          nncore.Dense(7, "softmax"), optimizer="adam", seed=seed)

def data(rows=700):
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, 60)).astype("float32"), rng.integers(0, 7, rows)

def train(seed=0, n_threads=4):
    X, y = data()
    net = big(seed)
    net.fit(X, y, batch_size=300, verbose=False, n_threads=n_threads)
    return net.theta.tobytes() + net.predict(X, n_threads=n_threads).tobytes()

def fork(child):
    # The exit status of a child that runs child() and must end in time.
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(30)
            os._exit(0 if child() else 1)
        finally:
            os._exit(2)
    return pid

def ended_well(pid):
    return os.waitpid(pid, 0)[1] == 0
"""


# --- How many -------------------------------------------------------------------------------------


@pytest.fixture
def default(monkeypatch):
    """A machine of 6 processors without environment variables; afterwards all is as it was."""
    monkeypatch.setattr(threads, "processors", lambda: 6)
    monkeypatch.setattr(threads, "cpu_quota", lambda: math.inf)
    monkeypatch.delenv("NNCORE_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def read_anew(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        nncore.set_num_threads(None)
        return nncore.get_num_threads()

    nncore.set_num_threads(None)
    yield read_anew
    monkeypatch.undo()
    nncore.set_num_threads(None)


CALLS = {
    "fit": lambda net, X, y, n: net.fit(X, y, verbose=False, n_threads=n),
    "partial_fit": lambda net, X, y, n: net.partial_fit(X, y, n_threads=n),
    "predict": lambda net, X, y, n: net.predict(X, n_threads=n),
    "evaluate": lambda net, X, y, n: net.evaluate(X, y, n_threads=n),
    "loss_and_gradient": lambda net, X, y, n: net.loss_and_gradient(X, y, n_threads=n),
    "set_num_threads": lambda net, X, y, n: nncore.set_num_threads(n),
}


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("call", CALLS)
def test_number_of_threads_is_checked(call, backend, default):
    net = Network(2, Dense(1), seed=0, backend=backend)
    X, y = np.ones((3, 2), "float32"), np.ones((3, 1), "float32")
    before = net.theta.copy()
    for bad in (0, -1, 65, 1.5, "2", True, np.True_, [2], np.array([1, 2])):
        with pytest.raises(ValueError) as error:
            CALLS[call](net, X, y, bad)
        assert str(error.value) == (
            f"the number of threads must be an integer from 1 to 64, or None, got {bad!r}"
        )
    assert_same_bits(net.theta, before)
    assert nncore.get_num_threads() == 6
    for good in (1, 64, np.int64(2), np.uint8(3), None):
        CALLS[call](net, X, y, good)


def test_set_and_get(default):
    assert default() == 6
    nncore.set_num_threads(3)
    assert nncore.get_num_threads() == 3
    Network(2, Dense(1))
    assert nncore.get_num_threads() == 3
    nncore.set_num_threads(None)
    assert nncore.get_num_threads() == 6


@pytest.mark.parametrize(
    ("own", "omp", "expected"),
    [
        ("", "", 6),
        ("3", "", 3),
        (" 5 ", "2", 5),
        ("9", "", 9),
        ("1000", "", 64),
        ("", "2", 2),
        ("", "4,3,2", 4),
        ("", " 7 , 1", 7),
        ("", "100", 64),
        ("", "0", 6),
        ("", "many", 6),
        ("", ",2", 6),
    ],
)
def test_environment(own, omp, expected, default):
    assert default(NNCORE_NUM_THREADS=own, OMP_NUM_THREADS=omp) == expected


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", "2,2", "\u00b2", "+3"])
def test_wrong_environment(value, default):
    assert default() == 6
    message = f"NNCORE_NUM_THREADS={value} is not a number of threads; set it to an integer"
    with pytest.raises(ValueError) as error:
        default(NNCORE_NUM_THREADS=value)
    assert str(error.value).startswith(message)
    with pytest.raises(ValueError):
        Network(2, Dense(1))
    nncore.set_num_threads(2)  # what is said in the program counts, and nothing else is looked at
    assert nncore.get_num_threads() == 2


@pytest.mark.parametrize(
    ("usable", "quota", "expected"),
    [(8, math.inf, 8), (8, 2.0, 2), (8, 2.5, 3), (8, 0.1, 1), (2, 16.0, 2), (100, math.inf, 64)],
)
def test_quota_and_processors(usable, quota, expected, default, monkeypatch):
    told = []
    set_threads = nncore._core.set_threads
    monkeypatch.setattr(threads, "processors", lambda: usable)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    monkeypatch.setattr(nncore._core, "set_threads", lambda *a: (told.append(a), set_threads(*a)))
    assert default() == expected
    # Under a quota nothing spins.
    assert told[-1] == (expected, usable if quota >= usable else 0)


@linux
def test_affinity(tmp_path):
    code = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(nncore.get_num_threads(), nncore.threads.processors())
"""
    assert python(code, tmp_path) == ["1", "1"]


V2 = "0::/a/b/c\n"
V1 = "9:name=systemd:/x\n3:cpu,cpuacct:/a/b\n1:memory:/a\n"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
TREES = {
    "none": (V2, {}, math.inf),
    "no file at all": (None, {}, math.inf),
    "max": (V2, {"a/b/c/cpu.max": "max 100000\n"}, math.inf),
    "own": (V2, {"a/b/c/cpu.max": "250000 100000\n"}, 2.5),
    "above": (V2, {"a/cpu.max": "150000 100000\n", "a/b/c/cpu.max": "max 100000\n"}, 1.5),
    "nested": (V2, {"a/cpu.max": "4 1", "a/b/cpu.max": "3 1", "a/b/c/cpu.max": "5 1"}, 3),
    "root": ("0::/../elsewhere\n", {"cpu.max": "50000 100000"}, 0.5),
    "beside": (V2, {"a/x/cpu.max": "1 1", "a/b/c/d/cpu.max": "1 1"}, math.inf),
    "garbage": (V2, {"cpu.max": "", "a/cpu.max": "1", "a/b/cpu.max": "x \u00b2",
                     "a/b/c/cpu.max": "0 0"}, math.inf),
    "digits that are none": (V2, {"a/cpu.max": "\u00b2 \u00b2"}, math.inf),
    "garbage in proc": ("\n:::\nx\n0::\n", {"cpu.max": "2 1"}, 2),
    "v1": (V1, {f"cpu,cpuacct/a/b/{QUOTA}": "300000\n", f"cpu,cpuacct/a/b/{PERIOD}": "100000\n"},
           3),
    "v1, no limit": (V1, {f"cpu/a/{QUOTA}": "-1\n", f"cpu/a/{PERIOD}": "100000\n"}, math.inf),
    "v1, above": (V1, {f"cpu/a/{QUOTA}": "2", f"cpu/a/{PERIOD}": "4", f"cpu/a/b/{QUOTA}": "3",
                       f"cpu/a/b/{PERIOD}": "1"}, 0.5),
    "v1, half": (V1, {f"cpu/a/{QUOTA}": "2"}, math.inf),
    "v1, other controller": ("3:cpuset:/a\n", {f"cpu/a/{QUOTA}": "2", f"cpu/a/{PERIOD}": "1"},
                             math.inf),
    "both": (V1 + V2, {"a/cpu.max": "3 1", f"cpu/{QUOTA}": "2", f"cpu/{PERIOD}": "1"}, 2),
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_quota_of_control_groups(tree, tmp_path):
    groups, files, expected = TREES[tree]
    proc, root = tmp_path / "cgroup", tmp_path / "fs"
    if groups is not None:
        proc.write_text(groups)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    assert threads.cpu_quota(str(proc), str(root)) == expected


def test_quota_here():
    assert threads.cpu_quota() > 0 and threads.processors() >= 1


# --- The same bits --------------------------------------------------------------------------------

NETWORKS = {
    # name: n_in, layers, loss; rows of the batches
    "batch of two blocks": (60, [(200, "tanh"), (170, "relu"), (7, "softmax")], "cross_entropy",
                            300),
    "few rows": (131, [(700, "softplus"), (301, "softsign")], "mse", 24),
    "one product": (260, [(333, "sigmoid")], "binary_cross_entropy", 250),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_number_of_threads_changes_no_bit(name, optimizer, isa, dtype):
    n_in, layers, loss, batch = NETWORKS[name]
    rows = 2 * batch + 7
    X = noise((rows, n_in), dtype)
    y = np.abs(noise((rows, layers[-1][0]), dtype, 1)) % 1
    y = y.argmax(axis=1) if loss == "cross_entropy" else y

    def run(n_threads):
        net = Network(n_in, *(Dense(n, act) for n, act in layers), loss=loss, dtype=dtype, seed=0,
                      optimizer=optimizer, backend=isa)  # fmt: skip
        history = net.fit(X, y, epochs=1, batch_size=batch, verbose=False, n_threads=n_threads,
                          validation_data=(X[:50], y[:50]))  # fmt: skip
        losses = [
            *history["loss"], *history["val_loss"], net.partial_fit(X, y, n_threads=n_threads),
            *net.evaluate(X, y, n_threads=n_threads).values(),
        ]  # fmt: skip
        value, gradient = net.loss_and_gradient(X, y, n_threads=n_threads)
        outputs = [net.predict(X[:n], n_threads=n_threads) for n in (1, 30, rows)]
        return [net.theta, net._engine.state, np.array([*losses, value]), gradient, *outputs]

    alone = run(1)
    assert np.isfinite(alone[0]).all() and np.abs(alone[3]).max() > 1e-6
    for n_threads in (2, 3, 4, 8, None):
        for a, b in zip(alone, run(n_threads), strict=True):
            assert_same_bits(np.ascontiguousarray(b), np.ascontiguousarray(a))


def test_predicting_while_another_network_trains():
    X = noise((3000, 60), "float32")
    y = X[:, :3] * X[:, 3:6]
    net, other = (Network(60, Dense(200, "tanh"), Dense(3), seed=seed) for seed in (0, 1))
    expected = net.predict(X, n_threads=1)
    alone = other.copy()
    alone.fit(X, y, epochs=6, batch_size=300, verbose=False, n_threads=1)
    wrong, over = [], threading.Event()

    def predict(n_threads):
        while not over.is_set():
            got = net.predict(X, n_threads=n_threads)
            if got.tobytes() != expected.tobytes():
                wrong.append(n_threads)

    workers = [threading.Thread(target=predict, args=(n,)) for n in (None, 2, 4)]
    for worker in workers:
        worker.start()
    try:
        other.fit(X, y, epochs=6, batch_size=300, verbose=False, n_threads=3)
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert not wrong
    assert_same_bits(other.theta, alone.theta)


# --- When there are threads, and when they work ---------------------------------------------------


@linux
def test_threads_start_when_they_are_needed(tmp_path):
    code = """
def count():
    return len(os.listdir("/proc/self/task")) - at_import
at_import = 0
at_import = count()
X, y = nncore.datasets.load_digits()
small = nncore.Network(64, nncore.Dense(64, "relu"), nncore.Dense(10, "softmax"), seed=0)
small.fit(X[:320], y[:320], verbose=False)
small.predict(X[:50])
print(at_import - int(sys.argv[1]), count())
X, y = data()
big().fit(X, y, batch_size=300, verbose=False, n_threads=1)
print(count())
big().fit(X, y, batch_size=300, verbose=False)
print(count())
big().predict(X, n_threads=3)
print(count())
"""
    alone = "import os, numpy; print(len(os.listdir('/proc/self/task')))"
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    before = subprocess.check_output([sys.executable, "-c", alone], env=environment, text=True)
    found = python(code, tmp_path, before.strip(), NNCORE_NUM_THREADS="4", OPENBLAS_NUM_THREADS="1")
    assert found == ["0", "0", "0", "3", "3"]


@pytest.mark.parametrize("n_threads", [2, 8])
def test_no_time_is_used_afterwards(n_threads, tmp_path):
    code = """
X, y = data()
for call in (lambda net, n: net.fit(X, y, batch_size=300, verbose=False, n_threads=n),
             lambda net, n: net.predict(X, n_threads=n)):
    call(big(), int(sys.argv[1]))
    time.sleep(0.001)
    start = time.process_time()
    time.sleep(0.5)
    print(time.process_time() - start)
"""
    # The threads that NumPy's OpenBLAS starts on import spin for a while too.
    for used in python(code, tmp_path, str(n_threads), OPENBLAS_NUM_THREADS="1"):
        assert float(used) < 0.01


# --- Forks ----------------------------------------------------------------------------------------


@can_fork
def test_forks_from_the_main_thread_while_another_trains(tmp_path):
    """Children and grandchildren train; so does the parent, undisturbed."""
    code = """
expected, over, wrong = train(n_threads=1), False, []
def load():
    while not over:
        wrong.extend([1] if train() != expected else [])
thread = threading.Thread(target=load)
thread.start()
def child():
    return train() == expected and (i % 10 > 0 or ended_well(fork(lambda: train() == expected)))
good = 0
for i in range(int(sys.argv[1])):
    good += ended_well(fork(child))
over = True
thread.join(60)
print(good, len(wrong), thread.is_alive(), train() == expected)
"""
    found = python(code, tmp_path, str(FORKS), timeout=60 + FORKS)
    assert found == [str(FORKS), "0", "False", "True"]


@can_fork
def test_forks_from_a_thread_while_the_main_thread_trains(tmp_path):
    code = """
expected, good, over = train(n_threads=1), [], False
def forks():
    for i in range(30):
        good.append(ended_well(fork(lambda: train() == expected)))
thread = threading.Thread(target=forks)
thread.start()
right = True
while thread.is_alive():
    right &= train() == expected
print(sum(good), right)
"""
    assert python(code, tmp_path) == ["30", "True"]


@can_fork
@pytest.mark.parametrize("use", ["fit", "predict"])
def test_a_signal_handler_that_forks(use, tmp_path):
    """The handler runs in the middle of a call, which parent and child both finish."""
    code = """
use = sys.argv[1]
X, y = data(40000)
def call(n_threads):
    net = big(width=800)
    if use == "fit":
        net.fit(X[:8000], y[:8000], batch_size=1000, verbose=False, n_threads=n_threads)
        return net.theta.tobytes()
    return b"".join(net.predict(X, n_threads=n_threads).tobytes() for _ in range(2))
expected, small, children, is_child = call(1), train(n_threads=1), [], False
def handler(*_):
    global is_child
    if is_child or len(children) >= 5:  # more where a signal came amid the handler
        return
    pid = os.fork()
    if pid:
        children.append(pid)
    else:
        is_child = True
        signal.alarm(60)
        if train() != small:
            os._exit(3)
signal.signal(signal.SIGPROF, handler)
signal.setitimer(signal.ITIMER_PROF, 0.03, 0.03)
right = True
while len(children) < 5 and not is_child:
    right &= call(4) == expected
if is_child:
    os._exit(0 if right else 1)
signal.setitimer(signal.ITIMER_PROF, 0)
print(right, not any(os.waitpid(pid, 0)[1] for pid in children))
"""
    assert python(code, tmp_path, use) == ["True", "True"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pools(method, tmp_path):
    code = """
import multiprocessing
def work(seed):
    return train(seed, None)
if __name__ == "__main__":
    method = sys.argv[1]
    if method not in multiprocessing.get_all_start_methods():
        sys.exit(print("none"))
    expected = [train(seed, 1) for seed in range(4)]
    train(0, 4)
    with multiprocessing.get_context(method).Pool(2) as pool:
        print(pool.map_async(work, range(4)).get(60) == expected)
"""
    assert python(code, tmp_path, method, NNCORE_NUM_THREADS="3") in (["True"], ["none"])


# --- Ctrl-C ---------------------------------------------------------------------------------------

in_main_thread = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(),
    reason="Python answers signals in the main thread only",
)


@in_main_thread
@pytest.mark.parametrize("n_threads", [2, 4])
def test_interrupted_training_ends_after_a_whole_step(n_threads, record_property):
    n = 512
    X = np.lib.stride_tricks.sliding_window_view(noise(400_000 + n - 1, "float32"), n)
    labels = np.arange(len(X)) * 7 % n
    net = Network(n, Dense(n, "relu"), Dense(n, "softmax"), optimizer="momentum", seed=0)
    start, order = net.theta.copy(), np.random.default_rng(0).permutation(len(X))
    interrupted(
        record_property, f"{n}-{n}-{n}, batches of 1024, {n_threads} threads",
        lambda: net._engine.train(X, labels, order, 1024, n_threads),
        lambda: net._engine.n_updates > 2, after=0.05,
    )  # fmt: skip
    steps = net._engine.n_updates
    reached = net.theta.copy(), net._engine.state.copy()
    net.theta = start
    net.optimizer = net.optimizer
    net._engine.train(X, labels, order[: steps * 1024], 1024, 1)
    assert net._engine.n_updates == steps > 2
    assert_same_bits(net.theta, reached[0])
    assert_same_bits(np.ascontiguousarray(net._engine.state), np.ascontiguousarray(reached[1]))


@in_main_thread
@pytest.mark.parametrize("n_threads", [2, 64])
def test_interrupted_prediction(n_threads, record_property):
    """The thread that looks for signals must not wait long for the others."""
    net = Network(256, Dense(1024, "tanh"), Dense(1024, "tanh"), Dense(1), seed=0)
    X = np.broadcast_to(np.full(256, 0.1, "float32"), (10**6, 256))
    out = np.empty((10**6, 1), "float32")
    for after in (0.05, 0.4):
        interrupted(record_property, f"predict, {n_threads} threads",
                    lambda: net._engine.predict(X, out, n_threads), after=after)  # fmt: skip


# --- threadpoolctl --------------------------------------------------------------------------------

LIMITS = """
def number():
    return nncore.get_num_threads()
found = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "nncore"]
print(len(found), found[0]["num_threads"], found[0]["version"])
with threadpoolctl.threadpool_limits(1, user_api="nncore"):
    print(number())
with threadpoolctl.threadpool_limits(200):
    print(number())
print(number())
"""


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_threadpoolctl(first, tmp_path):
    """Imported before nncore it is told of it, and otherwise left alone until asked to."""
    pytest.importorskip("threadpoolctl")
    environment = {"NNCORE_NUM_THREADS": "3"}
    if first:  # than all that the program itself imports
        (tmp_path / "sitecustomize.py").write_text("import threadpoolctl")
        environment["PYTHONPATH"] = str(tmp_path)
        program = "import threadpoolctl\n"
    else:
        program = "assert 'threadpoolctl' not in sys.modules\nimport threadpoolctl\n"
        program += "nncore.threads.register_threadpoolctl()\n" * 2
    found = python(program + LIMITS, tmp_path, **environment)
    assert found == ["1", "3", nncore.__version__, "1", "64", "3"]
