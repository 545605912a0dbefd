"""What the pages of explain, tune and serve share: their style, D3 for charts, and a tooltip.

`templates` renders them; each page's own template, style and scripts stand beside its module.
"""
