"""Worth of the model: books, metrics, Sharpe, evidence, skill, A/B test, influence. Pure."""
