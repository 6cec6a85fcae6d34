"""Times, measured honestly: contests, intervals, and what a step costs."""
