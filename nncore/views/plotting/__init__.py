"""`nncore.plots`, and what all pictures share."""
