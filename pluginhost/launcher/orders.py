"""What the launcher tells the processes it starts, and where they leave what they recorded.

One environment variable names a folder, and all else is in that folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

VARIABLE = "PLUGINHOST_LAUNCH"
"""Names the folder, in the environment of launched processes."""

CAPTURE, WRITTEN, FAILED = ".capture", ".written", ".failed"
"""End the names of files: a capture, how long it took to leave it (ns), why there is none."""

_FILE = "orders.json"
_PATH = "PYTHONPATH"


class Orders(NamedTuple):
    """What a launched process is to do.

    `record` its plugins' costs, with CPU times if `cpu`, in its child processes as well if
    `follow`, every call unless `sparing` (see `Sparer`). `blocked` are pairs: in managers of this
    project, no plugin of this name is registered. `spawned_ns` is the monotonic clock before the
    process was started, `python_path` what PYTHONPATH was before (None: unset).
    """

    record: bool = True
    cpu: bool = True
    follow: bool = False
    sparing: bool = True
    blocked: tuple[tuple[str, str], ...] = ()
    spawned_ns: int = 0
    python_path: str | None = None

    def write(self, folder: str) -> None:
        """Leave them in `folder`, with the present time as that of the start."""
        orders = self._replace(spawned_ns=time.perf_counter_ns())
        Path(folder, _FILE).write_text(json.dumps(orders._asdict()), encoding="utf-8")

    @classmethod
    def read(cls, folder: str) -> Orders:
        """Return what was left in `folder`."""
        found = json.loads(Path(folder, _FILE).read_text(encoding="utf-8"))
        return cls(**(found | {"blocked": tuple(map(tuple, found["blocked"]))}))

    def undo(self, environment: MutableMapping[str, str]) -> None:
        """Make `environment` what it was before the launcher added to it."""
        environment.pop(VARIABLE, None)
        if self.python_path is None:
            environment.pop(_PATH, None)
        else:
            environment[_PATH] = self.python_path

    def environment(self, folder: str, inject: str) -> dict[str, str]:
        """Return our environment with what makes Python processes read the orders."""
        path = os.pathsep.join(filter(None, (inject, self.python_path)))
        return os.environ | {VARIABLE: folder, _PATH: path}


def claims_to_be_first(folder: str) -> bool:
    """Whether this process is the first that asks: the program itself, not a child of it."""
    with suppress(FileExistsError):
        Path(folder, "first").touch(exist_ok=False)
        return True
    return False
