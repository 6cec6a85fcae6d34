"""The game played for real: learners adapt a draft model inside a lossless speculative decoder on transformers models."""
