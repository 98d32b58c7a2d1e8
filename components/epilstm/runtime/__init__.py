"""Running a step: the step table, the runner, records, processes, telemetry."""
