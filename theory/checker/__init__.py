"""Learners and bounds on trial: laws, games that may break a claim, the shortest one that does, certificates."""
