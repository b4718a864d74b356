"""What observing costs, as ratios of pairs measured in one run: `python -m benchmarks`."""
