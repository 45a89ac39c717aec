"""Exports label rows from Encord to S3: the package that the Lambda function runs."""

__version__ = "0.1.0"
