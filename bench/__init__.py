"""How fast it is, beside others, in the same run on the same machine: `python -m bench transport [--json FILE]`.

Law: figures are reported, never asserted, and compared only with those of the same run: ratios travel, seconds do not.
"""
