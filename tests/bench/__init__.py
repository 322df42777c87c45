"""Benchmarks: sizes x phases, run by hand; nothing here asserts a time."""
