"""The pytest plugin: where a suite's time goes. Its entry point is the module `options`.

PYTEST_DONT_REWRITE: pytest would compile the module a second time, to rewrite assertions.
"""
