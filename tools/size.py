"""Print how long the sources are and how big what was built is.

python tools/size.py
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "csrc": ("*.c", "*.h", "*.def"),
    "nncore": ("*.py", "*.pyx", "*.pxd", "*.pxi"),
    "tests": ("*.py", "*.c", "*.h"),
    "benchmarks": ("*.py",),
    "tools": ("*.py",),
}
LONG = 400  # lines; a file beyond that asks for a reason


def main():
    counts = {}
    for part, patterns in PARTS.items():
        files = [file for pattern in patterns for file in (ROOT / part).rglob(pattern)]
        counts |= {file: len(file.read_text().splitlines()) for file in files}
        print(f"{part:12}{len(files):4} files {sum(counts[file] for file in files):6} lines")
    for file, lines in sorted(counts.items(), key=lambda item: -item[1]):
        if lines > LONG:
            print(f"  {lines:5} {file.relative_to(ROOT)}")
    for pattern in ("nncore/*.so", "build/lib*/nncore/*.so", "dist/*"):
        for file in sorted(ROOT.glob(pattern)):
            print(f"{file.stat().st_size:10} bytes {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
