"""The game on real models: learners adapt a draft inside a lossless speculative decoder."""
