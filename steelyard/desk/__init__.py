"""The trading side: evaluates signals under the weight in force and records every evaluation."""
