"""A finished study as something to look at: one self-contained page, CSV and Markdown."""
