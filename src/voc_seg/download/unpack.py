"""Unpacks untrusted archives: atomically, and only into the target folder."""

import lzma
import os
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from rich.filesize import decimal

from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar

_LARGEST_RATIO = 20
_ALWAYS_ALLOWED = 64 * 2**20
_PADDING = 2**20


class UnsafeMemberError(Exception):
    """A member must not be unpacked; the message says why."""


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool] | None = None) -> None:
    """Unpack a tar file, compressed or not, into a new folder.

    Files are first unpacked into ``.<folder>.partial``, which is renamed at the end. An archive may unpack to 20 times
    its size, or to 64 MiB if that is more: VOC's archives are not compressed, and SBD's hardly shrinks. ``wanted``
    selects members by name, None all of them; every member is checked.

    Raises:
        VocSegError: A member is not a plain file or folder or would leave the folder, the archive is damaged, the
            folder exists or the disk is full. Everything unpacked is removed.
    """
    if not hasattr(tarfile, "data_filter"):
        raise VocSegError("This Python cannot unpack safely. Install a newer patch release: 3.10.12, 3.11.4 or later.")
    if folder.exists():
        raise VocSegError(f"{archive} cannot be unpacked to {folder}, which exists. Delete it and run again.")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        _unpack_members(archive, partial, wanted)
        os.replace(partial, folder)
    except UnsafeMemberError as error:
        raise VocSegError(
            f"{archive} is refused: {error}. Nothing was unpacked. Do not trust its source: delete it and set another "
            "address, with its md5, in conf/base/globals.yml, or use --params voc_root=PATH."
        ) from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, MemoryError) as error:
        raise VocSegError(_broken(archive, error)) from error
    except OSError as error:
        # gzip and bzip2 raise OSError too, without errno.
        if error.errno is None:
            raise VocSegError(_broken(archive, error)) from error
        raise VocSegError(
            f"{archive} could not be unpacked to {folder}: {error}. Nothing was unpacked. Fix the cause and run again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _broken(archive: Path, error: Exception) -> str:
    return (
        f"{archive} is not a tar archive, or is damaged: {str(error) or type(error).__name__}. Nothing was unpacked. "
        "Delete it, check its md5 in conf/base/globals.yml, and run again."
    )


def _unpack_members(archive: Path, folder: Path, wanted: Callable[[str], bool] | None) -> None:
    size = archive.stat().st_size
    limit = max(_LARGEST_RATIO * size, _ALWAYS_ALLOWED)
    read = 0
    if wanted is None:
        _check_room(f"Unpacking {archive.name}", size, folder)  # at least; more if it is compressed
    with (
        archive.open("rb") as file,
        progress_bar(f"Unpacking {archive.name}", size, "bytes") as advance,
        tarfile.open(fileobj=file, mode="r:*") as tar,
    ):
        for member in tar:
            _check(member, limit)
            if wanted is None or wanted(member.name):
                _check_room(member.name, member.size, folder)
                tar.extract(member, folder, filter="data")
            advance(file.tell() - read)
            read = file.tell()
        _check_end(tar)


def _check(member: tarfile.TarInfo, limit: int) -> None:
    """Raise `UnsafeMemberError` unless the member is a plain file or folder inside the target folder."""
    reason = _bad_path(member.name) or _bad_kind(member)
    # Sparse files are refused, so the bytes written never exceed the position in the unpacked stream.
    if not reason and member.offset_data + member.size > limit:
        reason = f"brings the archive to over {decimal(limit)}, too much for its size"
    if reason:
        raise UnsafeMemberError(f"its member {member.name!r} {reason}")


def _bad_path(name: str) -> str:
    if name.startswith("/"):
        return "has an absolute path"
    if "\\" in name or re.match("[A-Za-z]:", name):
        return "has a Windows path"
    if ".." in PurePosixPath(name).parts:
        return "has '..' in its path"
    return ""


def _bad_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"is a {'symbolic' if member.issym() else 'hard'} link to {member.linkname!r}"
    if member.ischr() or member.isblk() or member.isfifo():
        return "is a device or a pipe"
    if member.issparse() or any(key.startswith("GNU.sparse.") for key in member.pax_headers):
        return "is a sparse file"
    if not (member.isreg() or member.isdir()):
        return f"is of unknown type {member.type!r}"
    if member.isreg() and member.mode & (stat.S_ISUID | stat.S_ISGID):
        return "would run as another user (setuid or setgid)"
    if member.size < 0:
        return f"has a size of {member.size}"
    return ""


def _check_room(what: str, size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise VocSegError(
            f"{what} needs {decimal(size)} in {folder.parent}, where {decimal(free)} are free. "
            "Nothing was unpacked. Make room there and run again."
        )


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise unless a block of zeros follows the members: tarfile takes any bad header for the end."""
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends without end mark" if len(block) < tarfile.BLOCKSIZE else "a header is broken")
    # Read to the end of the file, so that gzip verifies its checksum.
    tar.fileobj.read(_PADDING)
