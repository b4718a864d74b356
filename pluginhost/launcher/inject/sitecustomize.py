"""Begins the recording in a launched Python process, before its program; then steps aside.

Python imports a module of this name when it starts. This folder is on the path of launched
processes only. Another `sitecustomize` that would have been imported without us is imported here.
"""

import time

begun_ns = time.perf_counter_ns()

import os  # noqa: E402
import sys  # noqa: E402

_here = os.path.dirname(__file__)  # noqa: PTH120  # pathlib is an import that the program may pay
_folder = os.environ.get("PLUGINHOST_LAUNCH")
sys.path[:] = [entry for entry in sys.path if entry != _here]
sys.path_importer_cache.pop(_here, None)
if _folder is not None:
    try:
        from pluginhost.launcher.child import begin

        begin(_folder, begun_ns)
    except Exception as error:  # the program runs all the same
        try:
            with open(f"{_folder}/{os.getpid()}.failed", "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(f"{type(error).__name__}: {error}")
        except OSError:
            pass

sys.modules.pop("sitecustomize", None)
# The real one. If there is none, Python ignores the error, as it does without us.
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
