"""Networks: the disentangling model, its parts and its baselines."""
