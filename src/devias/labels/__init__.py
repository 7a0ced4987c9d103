"""Labels that the data does not have: made on the device, or once and kept on disk."""
