"""Ways to what is outside: AWS, Encord, and the temporary table on disk."""
