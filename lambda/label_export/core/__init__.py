"""The rules of an export, without SDK, environment, clock or logger. Imports nothing of the other packages."""
