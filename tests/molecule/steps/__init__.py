"""Tests that several scenarios run."""
