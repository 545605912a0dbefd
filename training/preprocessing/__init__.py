"""From image files and sentences to what a network takes: one definition for training and export.

Nothing decodes, resizes, standardizes or tokenizes anywhere else.
"""
