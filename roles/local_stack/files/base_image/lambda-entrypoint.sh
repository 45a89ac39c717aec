#!/bin/sh
# The image's entry point, as in AWS's base images: one argument, the handler. On Lambda the service sets
# AWS_LAMBDA_RUNTIME_API; without it the emulator takes the service's place and listens on port 8080.
if [ "$#" -ne 1 ]; then
  echo "usage: $0 <module.function>, the handler to run" >&2
  exit 142
fi
export _HANDLER="$1"
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
  exec "${LAMBDA_RUNTIME_DIR:-/var/runtime}/bootstrap"
fi
exec /usr/local/bin/aws-lambda-rie "${LAMBDA_RUNTIME_DIR:-/var/runtime}/bootstrap"
