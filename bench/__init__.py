"""Benchmarks of the collectives."""
