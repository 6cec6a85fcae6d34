"""How the embedded models, streams and checkpoints are made, and how weights leave."""
