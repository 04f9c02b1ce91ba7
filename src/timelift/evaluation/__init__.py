"""Videos -> views -> scores -> predictions, and what they are worth: metrics, use of time, probe, cost."""
