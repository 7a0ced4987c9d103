"""From predictions to numbers: view averaging, metrics of a split, the paper's protocol, k-NN."""
