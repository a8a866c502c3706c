"""The study of large batches (`bench.largebatch`): data, network, arms and verdict."""
