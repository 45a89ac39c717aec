"""Tests of molecule's scenario `default`."""
