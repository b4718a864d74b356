"""In an observed program: writes down what is in every plugin manager when the program ends.

It looks by itself, with what pluggy offers to everybody, so that a report can be held against it.
"""

import atexit
import json
import os

_managers = []


def _names_of(manager):
    for name, plugin in manager.list_name_plugin():
        if plugin is not None:
            kind = plugin if isinstance(plugin, type) else type(plugin)
            unnamed = name == str(id(plugin))
            yield plugin, f"{kind.__module__}.{kind.__qualname__}" if unnamed else name


def _write():
    if not _managers:
        return  # not the program, but who starts it
    found = {}
    for manager in _managers:
        for plugin, name in _names_of(manager):
            hooks = found.setdefault(manager.project_name, {}).setdefault(name, [])
            hooks += [caller.name for caller in manager.get_hookcallers(plugin) or ()]
    with open(os.environ["WITNESS_FILE"], "w") as file:  # noqa: PTH123
        json.dump(found, file)


if "WITNESS_FILE" in os.environ:
    import pluggy

    _original = pluggy.PluginManager.__init__

    def __init__(self, *args, **options):
        _original(self, *args, **options)
        if self.project_name != "calibration":  # ours, made to see what measuring costs
            _managers.append(self)

    pluggy.PluginManager.__init__ = __init__
    atexit.register(_write)
