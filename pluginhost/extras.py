"""Optional libraries: there, or an error that names the extra to install."""

from __future__ import annotations

from importlib import import_module

from pluginhost.errors import MissingExtraError


def require(*modules: str, extra: str) -> None:
    """Raise `MissingExtraError` unless all these modules can be imported."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise MissingExtraError(
                f"{module} is not installed", remedy=f"pip install 'pluginhost[{extra}]'"
            ) from error
