"""What is wrong with a dataset on this machine, and what its lists hold."""
