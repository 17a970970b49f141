"""What is known at a bar's close, what is proposed there, and how it ended. Pure functions of bars."""
