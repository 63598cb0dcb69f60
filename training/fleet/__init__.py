"""The fleet: training fanned out as tasks, in this process or over a Ray cluster."""
