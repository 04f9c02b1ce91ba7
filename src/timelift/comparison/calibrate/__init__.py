"""Whether the statistics err as rarely as they promise: `python -m timelift.comparison.calibrate`."""
