"""Files that are written whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pluginhost.errors import ReportFileError


def write_file(content: str | bytes, path: str | Path) -> None:
    """Save text or bytes at `path`, whole or not at all, but to a device or a pipe as they are."""
    raw = content.encode() if isinstance(content, str) else content
    try:
        if Path(path).exists() and not Path(path).is_file():
            Path(path).write_bytes(raw)
            return
        target = Path(path).resolve()
        draft = target.with_name(target.name + ".part")
        try:
            draft.write_bytes(raw)
            draft.replace(target)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
    except (OSError, ValueError) as error:
        raise ReportFileError(
            f"{path} cannot be written: {reason_of(error)}",
            remedy="choose a folder that exists and that you may write to",
        ) from error


def reason_of(error: OSError | ValueError) -> str:
    """Return what is wrong with a path; a ValueError is one with a null character."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
