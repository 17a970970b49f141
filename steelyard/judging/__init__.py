"""What the model was worth: measures, the three books, and the evidence decisions rest on. Pure functions."""
