"""Plugins found, loaded, executed and unloaded. Nothing in here knows that it is watched."""
