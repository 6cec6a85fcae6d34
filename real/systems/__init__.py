"""Systems as named rows, and the models that they need, loaded once."""
