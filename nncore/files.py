"""Named arrays and text in one safetensors file, with NumPy and the standard library only.

Nothing in a file is executed or looked up, and nothing in it is trusted: every length, type, shape
and position is checked against the size of the file before memory for an array is taken.
"""

import contextlib
import errno
import io
import json
import math
import os
import stat
import sys
from collections.abc import Iterable
from reprlib import repr as short
from typing import Any

import numpy as np

MAX_HEADER = 1 << 20  # bytes
MAX_DIMENSIONS = 8
Tensors = dict[str, np.ndarray]

_DTYPES: dict[str, np.dtype] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends


class FileFormatError(ValueError):
    """The content of a file is damaged or not of the kind that is read here."""


def write(path: str | os.PathLike[str], tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write arrays and text to a file, completely or not at all: see `write_bytes`.

    Parameters
    ----------
    path : str or os.PathLike
    tensors : dict of str to ndarray
        float32, float64 or int64, at most 8 dimensions, any memory layout.
    metadata : dict of str to str

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/m.safetensors", {"w": np.arange(3.0)}, {"made by": "me"})
    ...     read(f"{folder}/m.safetensors")
    ({'w': array([0., 1., 2.])}, {'made by': 'me'})
    """
    write_bytes(path, _parts(tensors, metadata))


def write_bytes(path: str | os.PathLike[str], parts: Iterable[Any]) -> None:
    """Write buffers to a file, one behind the other, completely or not at all.

    The bytes go to a temporary file beside `path`, are synced to the disk and then renamed, so a
    crash or a full disk leaves the previous file as it was. A symbolic link is followed. An
    existing file keeps its permissions, a new one gets those of ``open(path, "wb")``.

    Parameters
    ----------
    path : str or os.PathLike
    parts : iterable of bytes or buffers

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(f"{folder}/notes.txt", [b"a ", b"b"])
    ...     os.path.getsize(f"{folder}/notes.txt")
    3
    """
    if not os.path.basename(os.fsdecode(path)):  # realpath would drop the slash at the end
        raise IsADirectoryError(errno.EISDIR, "expected the path of a file, got a folder's", path)
    target = os.path.realpath(os.fsdecode(path))
    mode = None
    with contextlib.suppress(OSError):  # asked once: others may make the file meanwhile
        mode = os.stat(target).st_mode
    if mode is not None and not stat.S_ISREG(mode):  # the rename would replace even /dev/null
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise FileExistsError(f"{target} is {kind}, not a regular file; choose another name.")
    folder = os.path.dirname(target)
    # The random part keeps threads apart, and leftovers of a killed process out of the way.
    temporary = os.path.join(folder, f".nncore-{os.getpid()}-{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
    try:
        handle = os.open(temporary, flags, 0o666 if mode is None else mode & 0o666)
    except OSError as error:  # it names a file that nobody asked for
        hint = f"there is no folder {folder}; make it, or choose another path"
        if os.path.isdir(folder):
            hint = f"cannot make a file in the folder {folder}"
        raise OSError(error.errno, f"{error.strerror}: {hint}", target) from None
    try:
        with open(handle, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode & 0o777)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # the file is in place; not every system syncs a directory
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, str]]:
    """Read a file: new, writable arrays in the machine's byte order, and the text.

    Content that is damaged or not of this kind raises `FileFormatError`, a missing file OSError.
    Takes memory for the arrays and up to 40 times the header's (<= 1 MiB). Example: see `write`.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    handle = os.open(path, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0))
    try:
        status, name = os.fstat(handle), os.fsdecode(path)
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(f"{name}: expected a regular file, got a directory or device.")
        with open(handle, "rb", closefd=False) as file:
            return _read(file, status.st_size, name)
    finally:
        os.close(handle)


def to_bytes(tensors: Tensors, metadata: dict[str, str]) -> bytes:
    """Return what `write` puts into a file.

    Examples
    --------
    >>> len(to_bytes({"w": np.zeros((2, 3))}, {}))  # 2 * 64 for the header, 2 * 3 * 8
    176
    """
    return b"".join(_parts(tensors, metadata))


def from_bytes(data: bytes) -> tuple[Tensors, dict[str, str]]:
    """Read what `to_bytes` returned, with the same checks as `read`.

    Examples
    --------
    >>> from_bytes(to_bytes({}, {"a": "b"}))
    ({}, {'a': 'b'})
    """
    return _read(io.BytesIO(data), memoryview(data).nbytes, "The data")


def _parts(tensors: Tensors, metadata: dict[str, str]) -> list[Any]:
    """Return header and arrays as buffers. All that can be refused is refused here."""
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise TypeError("metadata must map str to str; convert other values, e.g. with json.dumps.")
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    parts, end = [], 0
    for name, array in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"{name!r} cannot name a tensor; use a str other than '__metadata__'.")
        dtype = array.dtype.newbyteorder("<") if isinstance(array, np.ndarray) else None
        if dtype not in _CODES or array.ndim > MAX_DIMENSIONS:
            came = f"{array.ndim}-D {array.dtype}" if dtype else type(array).__name__
            raise TypeError(f"{name!r} must be float32, float64 or int64, at most 8-D; got {came}.")
        begin, end = end, end + array.nbytes
        header[name] = dict(dtype=_CODES[dtype], shape=array.shape, data_offsets=(begin, end))
        parts.append(np.asarray(array, dtype, order="C").reshape(-1).view(np.uint8))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    if len(text) > MAX_HEADER:
        raise ValueError(f"names and metadata take {len(text)} bytes; at most {MAX_HEADER} fit.")
    return [len(text).to_bytes(8, "little") + text, *parts]


def _read(file: Any, size: int, where: str) -> tuple[Tensors, dict[str, str]]:
    try:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if length > size - 8:
            if length > MAX_HEADER or file.read(1) not in (b"", b"{"):  # no length, so not cut off
                raise ValueError(f"begins with {start!r}; not a safetensors file")
            raise ValueError(f"expected over {8 + length} bytes, got {size}; copy the file again")
        if length > MAX_HEADER:
            raise ValueError(f"expected a header of at most {MAX_HEADER} bytes, got {length}")
        entries, metadata = _header(file.read(length), size - 8 - length)
        tensors = {}
        for _, _, name, dtype, shape in entries:
            array = np.empty(shape, dtype)
            if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:
                raise ValueError(f"ended inside {short(name)}; was it changed while being read?")
            tensors[name] = array.astype(dtype.newbyteorder("="), copy=False)
    except (ValueError, RecursionError) as error:  # ValueError: ours, and those of JSON and UTF-8
        raise FileFormatError(f"{where}: {error}.") from error
    return tensors, metadata


def _header(raw: bytes, n_data: int) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    """Return (begin, end, name, dtype, shape) of tensors that cover n_data bytes, and the text."""
    if not raw.startswith(b"{"):
        raise ValueError(f"expected a JSON object, got {raw[:8]!r}; not a safetensors file")
    numbers: dict[str, Any] = dict.fromkeys(
        ("parse_int", "parse_float", "parse_constant"), _integer
    )
    header = json.loads(raw.decode(), object_pairs_hook=_object, **numbers)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"__metadata__ must map text to text, got {short(metadata)}")
    entries = []
    for name, entry in header.items():
        what = f"tensor {short(name)}"
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{what} needs dtype, shape and data_offsets, got {short(entry)}")
        code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or code not in _DTYPES:
            raise ValueError(f"{what} must have dtype F32, F64 or I64, got {short(code)}")
        # NumPy multiplies the sizes other than 0 even for an array without elements.
        dtype = _DTYPES[code]
        if not _sizes(shape) or math.prod(n or 1 for n in shape) * dtype.itemsize > sys.maxsize:
            raise ValueError(f"{what} needs at most 8 possible sizes as shape, got {short(shape)}")
        n_bytes = math.prod(shape) * dtype.itemsize
        if not _sizes(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != n_bytes:
            raise ValueError(f"{what} needs data_offsets [b, b + {n_bytes}], got {short(offsets)}")
        entries.append((*offsets, name, dtype, shape))
    entries.sort(key=lambda entry: entry[:2])  # an empty tensor before the one that begins there
    position = 0
    for begin, end, name, _, _ in entries:
        if begin != position:
            raise ValueError(f"{short(name)} begins at {begin}, not {position}: overlap or hole")
        position = end
    if position != n_data:
        raise ValueError(f"expected {position} bytes of data, got {n_data}; copy the file again")
    return entries, metadata


def _sizes(value: Any) -> bool:
    """Tell whether this is a list of at most 8 sizes; true, 1.0 and -1 are no sizes."""
    short_list = isinstance(value, list) and len(value) <= MAX_DIMENSIONS
    return short_list and all(type(n) is int and 0 <= n <= sys.maxsize for n in value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError(f"a key is given twice: {short([key for key, _ in pairs])}")
    "".join(text for pair in pairs for text in pair if isinstance(text, str)).encode()  # surrogates
    return table


def _integer(text: str) -> int:
    if len(text) > 20 or not text.lstrip("-").isdigit():
        raise ValueError(f"{text[:20]} is not an integer of at most 20 digits")
    return int(text)
