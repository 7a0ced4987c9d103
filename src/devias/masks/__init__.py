"""Human masks: extractors that need no labels, and how good they are."""
