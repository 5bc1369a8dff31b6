"""Routes: a file each for what belongs together."""
