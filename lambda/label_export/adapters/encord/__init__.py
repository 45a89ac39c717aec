"""The client of Encord: label rows, read with the signed request that Encord documents."""
