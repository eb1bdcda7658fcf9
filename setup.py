"""Builds the one extension module; everything else stands in pyproject.toml.

Instruction sets need no flags here: each file of csrc/isa/ sets its own target.
"""

import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = sorted(str(p) for p in Path("csrc").rglob("*.c"))
HEADERS = sorted(str(p) for p in Path("csrc").rglob("*") if p.suffix in {".h", ".def"})

# Never -ffast-math: the engine promises bits. Without errno and traps a compiler may turn `?:`
# into a select, which is what makes loops vectorise; multiply and add fuse only where it is
# written, so body and remainder of a loop, and all instruction sets, agree.
FLAGS = [
    "-std=c11",
    "-O2",  # files of csrc/isa/ ask for more where it pays
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fno-asynchronous-unwind-tables",
    "--param=vect-epilogues-nomask=0",  # the ends of loops: 9 % of the kernels' code
    "-pthread",
    "-g0",
]
# What Cython writes twice, for speed that calls of microseconds do not need: 7 KB of a wheel.
SMALL_CYTHON = [
    (f"CYTHON_{name}", "0")
    for name in (
        "ASSUME_SAFE_MACROS", "FAST_THREAD_STATE", "UNPACK_METHODS", "USE_DICT_VERSIONS",
        "USE_FREELISTS", "USE_PYLONG_INTERNALS", "USE_TP_FINALIZE", "USE_TYPE_SLOTS",
        "USE_UNICODE_INTERNALS",
    )
]  # fmt: skip
LINK_FLAGS = ["-pthread", "-lm"]
if sys.platform == "linux":
    LINK_FLAGS.append("-Wl,--strip-all")  # names that nobody outside can use: 5 % of the file
if sys.platform == "win32":
    FLAGS, LINK_FLAGS = ["/O2", "/std:c11"], []

setup(
    ext_modules=cythonize(
        [
            Extension(
                "nncore._core",
                ["nncore/_core.pyx", *SOURCES],
                include_dirs=["csrc"],
                depends=[*HEADERS, *map(str, Path("nncore").glob("*.px[di]"))],
                define_macros=[("NNC_BUILD_FLAGS", f'"{" ".join(FLAGS)}"'), *SMALL_CYTHON],
                extra_compile_args=FLAGS,
                extra_link_args=LINK_FLAGS,
            )
        ],
        compiler_directives={"language_level": 3},
    )
)
