"""Weights of others and our own: read, recognized, assigned, written."""
