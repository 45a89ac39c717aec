"""AWS, through boto3."""
