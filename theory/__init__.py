"""The game, its players and its theorems: what the simulator and the decoder share.

Nothing here imports torch, jax, transformers or matplotlib; every function takes numpy or torch arrays alike.
"""
