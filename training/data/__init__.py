"""Data sets: opened once, split and read by index, cached, batched and augmented.

The way in is `dataset.py`: open_source, load_dataset and load_data.
"""
