"""Weights of others and our own: read, recognised, assigned, written."""
