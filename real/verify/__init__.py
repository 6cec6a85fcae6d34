"""Is it right: lossless, audited, and foretold by the simulator."""
