"""Check #include and import lines against the order of the layers below.

    python tools/layering.py [ROOT]

A file may use only layers above its own. Imports inside functions count as well, those under
`if TYPE_CHECKING:` do not: they are never run. A file that stands in no layer is reported, so that
a new one is put somewhere on purpose.
"""

import ast
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

# C: paths in csrc, the lowest layer first. A file may include its own layer and those above it in
# this list; <headers> must be in C_SYSTEM.
C_LAYERS = {
    "contract": ["nnc.h", "vmath.h", "tables/*.def"],
    "kernels": ["kernels/*"],
    "isa": ["isa/*"],
    "dispatch": ["cpu.[ch]", "dispatch.c", "tables.c", "shuffle.c"],
    "pool": ["pool.c"],
    "plan": [
        "plan.c",
        "run.inc.h",
        "update.inc.h",
        "online.inc.h",
        "derive.inc.h",
        "landscape.inc.h",
        "steps/*",
    ],  # fmt: skip
}
C_SYSTEM = {
    "contract": {"stddef.h", "stdint.h"},
    "kernels": {"stddef.h", "stdint.h", "string.h"},
    "isa": {"immintrin.h", "arm_neon.h"},
    "dispatch": {"cpuid.h", "math.h", "string.h"},
    "pool": {"fenv.h", "pthread.h", "sched.h", "signal.h", "stdatomic.h", "time.h"},
    "plan": {"math.h", "stdatomic.h", "stddef.h", "string.h"},
}

# Python: modules of nncore, the lowest layer first. A module may import those of the layers above
# its own in this list (and of its own package), the standard library, and NumPy.
PYTHON_LAYERS = [
    [
        "_core", "_kernels", "_predictor", "reference", "formulas", "files", "datasets",
        "progress", "described", "cells",
    ],  # fmt: skip
    ["names", "info", "threads", "stopping", "tables", "data", "notebook"],
    ["callbacks", "history"],
    ["activation", "initializer", "columns", "own_loss"],
    ["loss", "weights", "own_activation"],
    ["validation", "metrics"],
    ["layers", "schedules", "trainers"],
    ["optimizers", "line_searches", "batches"],
    ["persistence", "gradients", "lsuv", "splitting"],
    ["checkpoints"],
    ["run"],
    ["training"],
    ["checking"],
    ["views"],
    ["network", "plots"],
    ["exchange"],
    ["__init__"],
    ["demo", "bench", "commands", "sklearn"],
    ["cli"],
    ["__main__"],
]
# (module, what it imports inside functions only): why
LAZY = {
    ("persistence", "network"): "network saves through persistence, which makes networks again",
    ("info", "__init__"): "the version",
    ("network", "exchange"): "a network writes itself as ONNX",
    ("activation", "plots"): "an activation draws itself",
}
# (file, packages that it imports inside functions only): what is measured beside nncore, and charts
OTHERS = {
    "bench/peers.py": {"jax", "jaxlib", "onnx", "onnxruntime", "sklearn", "torch"},
    "bench/chart.py": {"matplotlib"},
    "views/plotting/classes.py": {"matplotlib"},
    "views/plotting/drawing.py": {"matplotlib"},
    "views/plotting/layers.py": {"matplotlib"},
    "views/landscapes/relief.py": {"matplotlib"},
}
# package of nncore: others that it stands on, and may import anywhere
EXTRAS = {"sklearn": {"scipy", "sklearn"}}
PACKAGES = {"numpy", "cpython", "libc"} | set(sys.stdlib_module_names)


# --- C --------------------------------------------------------------------------------------------


def c_layer(path):
    """The name of the layer of a path in csrc, or None."""
    for name, patterns in C_LAYERS.items():
        if any(fnmatch(path, pattern) for pattern in patterns):
            return name
    return None


def check_c(csrc):
    order = list(C_LAYERS)
    for file in sorted(p for p in csrc.rglob("*") if p.suffix in {".c", ".h", ".def"}):
        path = file.relative_to(csrc).as_posix()
        layer = c_layer(path)
        if layer is None:
            yield file, 1, f"{path} stands in no layer: add it to C_LAYERS of tools/layering.py"
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*(?:"([^"]*)"|<([^>]*)>)?', line)
            if not match:
                continue
            local, system = match.groups()
            if system:
                if system not in C_SYSTEM[layer]:
                    yield file, number, f"{layer} may not include <{system}>"
                continue
            target = next(
                (p for p in (file.parent / (local or "?"), csrc / (local or "?")) if p.is_file()),
                None,
            )
            if target is None or not target.resolve().is_relative_to(csrc.resolve()):
                yield file, number, f"cannot find what this includes: {line.strip()}"
                continue
            used = c_layer(target.resolve().relative_to(csrc.resolve()).as_posix())
            if used is not None and order.index(used) > order.index(layer):
                yield file, number, f"{layer} may not include {used} ({local})"


# --- Python ---------------------------------------------------------------------------------------


def python_imports(file):
    """Yield (line, level, module or "", names, whether inside a function) of each import."""
    if file.suffix == ".py":
        tree = ast.parse(file.read_text())
        inside = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
        }
        never = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for statement in block.body
            for node in ast.walk(statement)
        }
        for node in ast.walk(tree):
            if id(node) in never:
                continue
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                yield node.lineno, node.level, node.module or "", names, id(node) in inside
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, 0, alias.name, [], id(node) in inside
    else:  # Cython
        for number, line in enumerate(file.read_text().splitlines(), 1):
            indented = line[:1] == " "
            if match := re.match(r"\s*from\s+(\.*)([\w.]*)\s+c?import\s+\(?(.*)", line):
                dots, module, names = match.groups()
                yield number, len(dots), module, re.findall(r"\w+", names), indented
            elif match := re.match(r"\s*c?import\s+([\w.]+)", line):
                yield number, 0, match.group(1), [], indented


def imported_modules(package, parts, level, module, names):
    """The modules of nncore, each a dotted path below it, that one import line names."""
    if level == 0:
        if module.split(".")[0] != package.name:
            return None
        base = module.split(".")[1:]
    else:
        base = [*parts[: len(parts) - level + 1], *(module.split(".") if module else [])]
    if not names:
        return [base]
    found = []
    for name in names:
        path = package.joinpath(*base, name)
        is_module = path.is_dir() or any(
            path.with_suffix(suffix).is_file() for suffix in (".py", ".pyx", ".pxi")
        )
        found.append([*base, name] if is_module else base)
    return found


def check_python(package):
    layer = {name: i for i, names in enumerate(PYTHON_LAYERS) for name in names}
    suffixes = {".py", ".pyx", ".pxd", ".pxi"}
    for file in sorted(p for p in package.rglob("*") if p.suffix in suffixes):
        parts = file.relative_to(package).with_suffix("").parts
        top = parts[0]
        others = OTHERS.get(file.relative_to(package).as_posix(), set())
        if top not in layer:
            yield file, 1, f"{top} stands in no layer: add it to PYTHON_LAYERS of tools/layering.py"
            continue
        for line, level, module, names, lazy in python_imports(file):
            # parts[:-1] is the package that a single dot means, for __init__.py as well
            modules = imported_modules(package, parts[:-1], level, module, names)
            if modules is None:
                known = PACKAGES | EXTRAS.get(top, set()) | (others if lazy else set())
                if module.split(".")[0] not in known:
                    yield file, line, f"only the standard library and NumPy, not {module}"
                continue
            for path in modules:
                used = path[0] if path else "__init__"
                if used == top and len(parts) > 1:
                    continue  # within one package
                if lazy and (top, used) in LAZY:
                    continue
                if used not in layer:
                    yield file, line, f"{top} imports {used}, which stands in no layer"
                elif layer[used] >= layer[top]:
                    yield file, line, f"{top} may not import {used}"


def main(root):
    files = [root / "csrc", root / "nncore"]
    for folder in files:
        if not folder.is_dir():
            sys.exit(f"layering: there is no folder {folder}")
    problems = [*check_c(files[0]), *check_python(files[1])]
    for file, line, text in problems:
        print(f"{file.relative_to(root)}:{line}: {text}")
    print(f"layering: {len(problems)} problems" if problems else "layering: in order")
    return bool(problems)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else here))
