"""The trading side: what a signal's confidence becomes once the model has been heard."""
