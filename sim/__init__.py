"""The simulator: the game played against synthetic streams, where regret and acceptance are known exactly."""
