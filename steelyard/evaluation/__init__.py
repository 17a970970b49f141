"""What the model was worth: books, metrics, evidence, skill, A/B test, influence. Pure functions."""
