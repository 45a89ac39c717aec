"""The rules of an export, without SDK, environment, clock or logger. Imports no other package here."""
