"""One file a dataset: how its own annotation files become records."""
