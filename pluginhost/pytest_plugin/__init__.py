"""Where a suite's time goes. The entry point, in which the options are, is `pluginhost_pytest`."""
