"""``nncore demo``: what it promises on its lines is so."""

import re
import shutil
import subprocess
import sysconfig
import time


def test_demo(tmp_path):
    program = shutil.which("nncore", path=sysconfig.get_path("scripts"))
    assert program, "the command nncore is not installed"
    start = time.perf_counter()
    result = subprocess.run(
        [program, "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    seconds = time.perf_counter() - start
    assert result.returncode == 0, result.stderr
    print(f"\n{result.stdout}\nin {seconds:.1f} s")
    assert seconds < 60

    def number(pattern):
        found = re.findall(pattern, result.stdout)
        assert len(found) == 1, pattern
        return float(found[0])

    assert number(r"(?m)^test accuracy +([\d.]+) %  \(loss [\d.]+\)$") >= 97.0
    apart = r"(?m)^loss curves differ +(\S+) relative after epoch 1, (\S+) at most later"
    first, most = map(float, re.findall(apart, result.stdout)[0])
    assert 0 <= first <= 1e-3 and first <= most < 0.1
    ratio = number(r"(?m)^ratio +([\d.]+) times as fast as NumPy$")
    engine = number(r"(?m)^nncore \(\w+\) +([\d.]+) us per step, [\d.]+ s for [\d,]+ steps")
    numpy = number(r"(?m)^NumPy +([\d.]+) us per step")
    assert ratio > 0 and abs(ratio / (numpy / engine) - 1) < 0.1
    assert "1,797 handwritten digits, 1,438 to train on and 359 held out" in result.stdout
    steps = int(re.search(r"s for ([\d,]+) steps of 32 rows", result.stdout)[1].replace(",", ""))
    epochs = steps // 45  # 44 batches of 32, and one of 30
    assert steps == 45 * epochs and result.stderr.count(f"epoch {epochs}/{epochs} ") == 2
