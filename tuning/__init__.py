"""Where to search: spaces of hyperparameters over the recipes, for keras-tuner. No space has been laid out yet."""
