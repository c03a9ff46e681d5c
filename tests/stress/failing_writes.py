"""Make every write of a training run fail once, in every way, and check that no good file is lost.

    python tests/stress/failing_writes.py

Each file fails in four ways, each in its own run: disk full at the first write or after half of the file, fsync,
rename. The run must stop with a message that names the file, the old file must remain, and resuming must end with the
same weights as an undisturbed run.
"""

import builtins
import errno
import io
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click import ClickException
from project import SCRATCH, differences, forget_training, left_by, make_project, run

EPOCHS = 2
SETTINGS = {
    "model": {"width": 8},
    "augmentation": {"crop_size": 64, "scale": [0.2, 0.3]},
    "evaluation": {"scale": 0.25},
    "training": {
        "epochs": EPOCHS, "batch_size": 2, "validate_every": 1, "checkpoint": {"every_minutes": 1e-6, "keep_last": 1},
    },
}  # fmt: skip
WAYS = ("first write", "half written", "fsync", "rename")


class Failing:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes if not isinstance(data, str) else len(data)
        if size > self.room:
            self.file.write(data[: self.room] if isinstance(data, (str, bytes)) else bytes(data)[: self.room])
            self.room = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Failing":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@contextmanager
def failing(number: int | None, way: str) -> Iterator[list[tuple[str, int]]]:
    """Make the file of this number fail; yield names and sizes of the files that were written."""
    written: list[tuple[str, int]] = []
    opened: list[str] = []
    real_open, real_fsync, real_replace = builtins.open, os.fsync, os.replace

    def is_due(what: str) -> bool:
        return number is not None and len(opened) == number + 1 and way == what

    def open_(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        handle = real_open(file, mode, *args, **kwargs)
        if "w" not in mode or not str(file).endswith(SCRATCH):
            return handle
        opened.append(str(file))
        if is_due("first write"):
            return Failing(handle, 0)
        return Failing(handle, sizes[number] // 2) if is_due("half written") else handle

    def fsync(descriptor: int) -> None:
        if is_due("fsync"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        if is_due("rename"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        size = Path(source).stat().st_size
        real_replace(source, target)
        written.append((Path(target).name, size))

    builtins.open = io.open = open_
    os.fsync, os.replace = fsync, replace
    try:
        yield written
    finally:
        builtins.open = io.open = real_open
        os.fsync, os.replace = real_fsync, real_replace


sizes: list[int] = []


def main() -> None:
    started, problems, runs = time.monotonic(), [], 0
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="voc_seg_stress_") as temporary:
        project = make_project(Path(temporary) / "project", 4)
        os.chdir(project)
        with failing(None, "") as written:
            run(project, "training", SETTINGS)
        expected = left_by(project, EPOCHS)
        names, sizes[:] = [name for name, _ in written], [size for _, size in written]
        say(f"an undisturbed run writes {len(names)} files: {', '.join(names)}")
        for number, name in enumerate(names):
            for way in WAYS:
                forget_training(project)
                problems += [f"{way} of file {number} ({name}): {what}" for what in one(project, number, way, expected)]
                runs += 1
    say(f"{runs} failures, {(time.monotonic() - started) / 60:.1f} min; problems: {len(problems)}")
    for problem in problems:
        say(f"  {problem}")
    raise SystemExit(bool(problems))


def one(project: Path, number: int, way: str, expected: dict[str, Any]) -> list[str]:
    """The fault found when this file failed in this way; empty if there is none."""
    found = []
    try:
        with failing(number, way):
            run(project, "training", SETTINGS)
        return ["nobody noticed"]
    except ClickException as error:
        if "Could not write" not in str(error):
            found.append(f"the message is {error}")
    except Exception as error:
        found.append(f"a bare {type(error).__name__}: {error}")
    if half := [path.name for path in project.rglob(f"*{SCRATCH}*")]:
        found.append(f"half files stay: {half}")
    resume = any(project.glob("data/06_models/checkpoints/*.pth"))
    again = SETTINGS | {"training": SETTINGS["training"] | {"resume": resume}}
    run(project, "training", again)
    return found + differences(left_by(project, EPOCHS), expected)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
