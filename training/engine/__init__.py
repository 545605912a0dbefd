"""Training engine: runs the epochs of a recipe, checkpoints them, resumes interrupted runs."""
