"""What is asked: prompts in order, schedules of domain shifts, the benchmarks of the papers."""
