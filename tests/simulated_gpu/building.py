"""Compile the simulated GPU once for each torch and source, and keep it between runs."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import torch
from filelock import FileLock

SOURCES = Path(__file__).with_name("backend")
TESTED = "2.14"
"""Version of torch whose C++ interface the sources are written for."""


def obstacle() -> str:
    """Say why the simulated GPU cannot be compiled here; empty if it can."""
    if sys.platform != "linux":
        return f"the simulated GPU is compiled on Linux only, not on {sys.platform}"
    if not torch.__version__.startswith(f"{TESTED}."):
        return f"the simulated GPU is written for torch {TESTED}, installed is {torch.__version__}"
    if not _compiler():
        return "no C++ compiler: install g++, or name one in CXX"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "no Python.h: install Python's headers (python3-dev)"
    return ""


def build() -> Path:
    """Return the compiled library; compiling takes about half a minute.

    Raises:
        RuntimeError: The compiler failed; with its messages.
    """
    sources = sorted(SOURCES.iterdir())
    command = _command()
    parts = [torch.__version__, sys.version, *command, *(path.read_text() for path in sources)]
    key = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voc_seg" / "simulated_gpu"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"simgpu_{key}.so"
    with FileLock(f"{library}.lock"):
        if not library.is_file():
            partial = library.with_suffix(".partial")
            done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
            partial.rename(library)
    return library


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++"))


def _command() -> list[str]:
    root = Path(torch.__file__).parent
    includes = [root / "include", root / "include/torch/csrc/api/include", sysconfig.get_paths()["include"]]
    return [
        _compiler() or "g++", "-O1", "-std=c++20", "-fPIC", "-shared", "-w",
        "-DTORCH_EXTENSION_NAME=simgpu_backend",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        *(f"-I{folder}" for folder in includes),
        str(SOURCES / "backend.cpp"),
        f"-L{root / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10", "-ltorch_python", f"-Wl,-rpath,{root / 'lib'}",
    ]  # fmt: skip
