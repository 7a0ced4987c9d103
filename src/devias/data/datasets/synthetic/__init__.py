"""A benchmark of actions in scenes, drawn from a seed, with true silhouettes of the actor."""
