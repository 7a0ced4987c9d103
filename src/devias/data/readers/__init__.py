"""Readers that return exactly the frames they are asked for."""
