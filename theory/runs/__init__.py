"""What runs share: the result file, named experiments, a learner by name, the settings that practice uses."""
