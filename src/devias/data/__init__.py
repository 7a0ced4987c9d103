"""Video datasets: records, reading, sampling, transforms and their LightningDataModules."""
