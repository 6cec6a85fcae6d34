"""Learners and the decoder's run a third time, from the papers' pseudocode.

Simulator and decoder share ``theory/``, where a fault would agree with itself. What lies here imports nothing else of
the project; ``sim/confirm.py`` holds the replay against it. One copy, one position and one head after the other: slow.
"""
