"""Check what the compiled objects of csrc export and call.

    python tools/symbols.py FOLDER       (with $NM, or nm)

An isa/ object exports its tables alone: an inline function that it exported could be chosen by the
linker for a processor that cannot run it. Nothing allocates, prints or exits, and no
instruction set falls back on a function of libm.
"""

import os
import subprocess
import sys
from pathlib import Path

MEMORY = {"memcpy", "memset", "memmove", "memcmp"}
COMPILER = {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail", "__stack_chk_guard"}
THREADS = {"atfork", "cond_init", "cond_signal", "cond_wait", "create", "detach", "mutex_init",
           "mutex_lock", "mutex_unlock", "sigmask"}  # fmt: skip
MAY_CALL = {
    "isa": MEMORY,
    "pool.o": MEMORY
    | {"clock_gettime", "fegetenv", "fesetenv", "sched_yield", "sigfillset"}
    | {f"pthread_{name}" for name in THREADS},
    "other": MEMORY | {"strcmp", "pow", "sqrt"},
}


def symbols(file, option, nm):
    """The names that nm lists, without the underscore that macOS puts before all of them."""
    lines = subprocess.run(
        [nm, "-g", option, str(file)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = {line.split()[-1] for line in lines if line.strip() and not line.endswith(":")}
    return {name[1:] for name in names} if sys.platform == "darwin" else names


def problems(folder, nm):
    files = sorted(folder.rglob("*.o"))
    if not any(file.parent.name == "isa" for file in files):
        yield f"no objects of isa/ in {folder}"
    for file in files:
        kind = "isa" if file.parent.name == "isa" else "other"
        exported = symbols(file, "--defined-only", nm)
        tables = {f"nnc_{name}_{file.stem}" for name in ("table", "second")}
        if kind == "isa" and not {f"nnc_table_{file.stem}"} <= exported <= tables:
            yield f"{file} exports {sorted(exported)}, not its tables alone"
        elif any(not name.startswith("nnc_") for name in exported):
            yield f"{file} exports a name without nnc_: {sorted(exported)}"
        allowed = MAY_CALL.get(file.name, MAY_CALL[kind])
        called = symbols(file, "--undefined-only", nm) - allowed - COMPILER
        if foreign := {name for name in called if not name.startswith("nnc_")}:
            yield f"{file} calls {sorted(foreign)}"


def main(folder, nm):
    found = list(problems(folder, nm))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"symbols: {len(found)} problems" if found else "symbols: as they should be")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ.get("NM", "nm")))
