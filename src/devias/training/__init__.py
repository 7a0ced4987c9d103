"""The Lightning module, its optimiser and callbacks, and how a configuration becomes a run."""
