"""Files that are written whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8; until all of it is on the disk, an older file stays as it was.

    The text goes to a temporary file beside the file, which then takes its name. A link is
    followed, permissions of an older file are kept. A device or a pipe is written to directly.

    Raises:
        OSError: the text cannot be written, such as to a full disk; the older file is unchanged,
            and the temporary file is removed.
    """
    content = text.encode("utf-8")
    target = Path(os.path.realpath(path))
    older = target.stat() if target.exists() else None
    if older is not None and not stat.S_ISREG(older.st_mode):
        target.write_bytes(content)
        return
    temporary = target.with_name(f".attnviz-{secrets.token_hex(8)}.tmp")
    try:
        # Opened by number: the permissions of a new file follow the user's mask.
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if older is not None:
            temporary.chmod(stat.S_IMODE(older.st_mode))
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
