"""A trained network at work: streams of frames."""
