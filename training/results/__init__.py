"""Results of the recipes: recorded, run again, and published as shipped networks."""
