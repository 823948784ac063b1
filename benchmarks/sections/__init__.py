"""The sections of `benchmarks/calls.py`: each has a ``run(bench)`` that adds figures to the report and returns charts."""
