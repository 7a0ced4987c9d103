"""What is done to whole batches of training clips, on the device."""
