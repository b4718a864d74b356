"""Nine small plugins for pluginhost, one to a file.

Each takes the `pathlib.Path` of a file and returns what it made of it. Those that are for certain
kinds of file go by the suffix, and return None when it is not theirs.
"""
