"""Sources of images → packed uint8 arrays → batches, augmented on the device."""
