"""Runs: one variant trained on one data set with one seed, evaluated and stored; and many of them at once."""
