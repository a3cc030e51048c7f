"""What a person runs: the command line, one module a job, the run orchestrator, SQL, report and manifest commands."""
