"""A stand-in for Encord: the part of its API that the unmodified ``encord`` package needs, on one machine.

It is a test double, not a service: its data is synthetic, it keeps no state between starts, and its control API
(``/_stand_in/``) is for the person or the test that started it.
"""
