"""The Lightning module, its optimizer and callbacks, and how a configuration becomes a run."""
