"""Tests of molecule's scenario `upgrade`."""
