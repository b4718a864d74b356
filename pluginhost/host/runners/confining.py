"""Taking rights away from the calling process that it never gets back, by Landlock of Linux.

This keeps a plugin's mistakes to a few folders. It is no wall against one that means harm: it may read
what it likes, use the network, and write to what was open before.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pluginhost.errors import PluginLoadError
from pluginhost.printable import printable

ALWAYS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty")
"""What may be written to all the same, where it is there: nothing is kept there."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture but Alpha
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))  # remove or make anything in it
_SINCE = {_REFER: 2, _TRUNCATE: 3}  # versions of the interface


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock_version() -> int:
    """Return which version of Landlock's interface the kernel has, 0 if it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, _system_call(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def confine_writes(places: Sequence[str], *, base: Path | None) -> None:
    """Refuse all writing from now on, but to these files and beneath these folders.

    It holds for this thread and those that it starts, and for all processes that they start. Paths
    that are not absolute are from `base`. Raises `PluginLoadError` where it cannot be done.
    """
    version = landlock_version()
    if version == 0:
        raise PluginLoadError(
            "it is to write to some folders only, and this system has no Landlock, which is Linux"
            " 5.13 or later with it enabled",
            remedy="take 'writable' out of its limits, or run it where there is Landlock",
        )
    rights = _WRITE_FILE | _CHANGE_FOLDER
    rights |= sum(right for right, since in _SINCE.items() if version >= since)
    handled = ctypes.c_uint64(rights)
    ruleset = _checked(_system_call(_CREATE_RULESET, ctypes.byref(handled), 8, 0), "made")
    try:
        for place in places:
            _allow(ruleset, _resolved(place, base), rights, place)
        for place in filter(os.path.exists, ALWAYS):
            _allow(ruleset, place, rights, place)
        _checked(_system_call(_RESTRICT_SELF, ruleset, 0), "put in force")
    finally:
        os.close(ruleset)


def _resolved(place: str, base: Path | None) -> str:
    path = Path(place).expanduser()
    if not path.is_absolute():
        if base is None:
            raise PluginLoadError(
                f"'writable' has {printable(place, 200)!r}, which is not absolute, and it is no"
                " plugin from a folder",
                remedy="give an absolute path, or one that begins with ~",
            )
        path = base / path
    return str(path)


def _allow(ruleset: int, path: str, rights: int, place: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise PluginLoadError(
            f"'writable' has {printable(place, 200)!r}, which cannot be opened: {error.strerror}",
            remedy="make the folder, or correct its name",
        ) from error
    try:
        if not Path(path).is_dir():
            rights &= _WRITE_FILE | _TRUNCATE
        rule = _PathBeneath(rights, descriptor)
        _checked(
            _system_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0), "completed"
        )
    finally:
        os.close(descriptor)


def _system_call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    words = [a if a is None or not isinstance(a, int) else ctypes.c_long(a) for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *words))


def _checked(result: int, what: str) -> int:
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise PluginLoadError(
            f"the rules for what it may write to could not be {what}: {reason}",
            remedy="take 'writable' out of its limits, or see what the system forbids",
        )
    return result
