"""Doctor: what this MPI and machine can do; ``python -m collectives.doctor``."""
