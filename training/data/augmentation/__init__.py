"""Data augmentation: random changes to batches of images, a function of the seed and the step."""
