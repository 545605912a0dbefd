"""Data sets: opened once, split and read by index, cached, batched and augmented.

The way in is `dataset.py`: load_dataset and load_data; `opening.py` has open_source.
"""
