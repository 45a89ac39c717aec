"""Examples for the rules in .config/semgrep.yaml; `scripts/audit semgrep` has semgrep compare its findings with the comments.

The line after `ruleid: NAME` is found by that rule, the line after `ok: NAME` is not. Nothing here is ever run.
"""

# Wrong on purpose.
# ruff: noqa

import hmac
import http.client
import os
import socket
import ssl
import subprocess
import urllib.request

import boto3
import botocore.session
import duckdb
import requests


def secrets(given, token, signature, settings):
    # ruleid: secret-compared-with-equals
    if token == given:
        return True
    # ruleid: secret-compared-with-equals
    if settings.signing_secret != given.secret:
        return False
    # ruleid: secret-compared-with-equals
    if signature == sign(given):
        return True
    # ok: secret-compared-with-equals
    if token == "":
        return False
    # ok: secret-compared-with-equals
    if token != None:
        return True
    # ok: secret-compared-with-equals
    if token != token.strip():
        return False
    # ok: secret-compared-with-equals
    if given == settings.name:
        return True
    # ok: secret-compared-with-equals
    return hmac.compare_digest(token, given)


def logs(telemetry, logger, body, payload, row, change, settings):
    # ruleid: payload-or-secret-logged
    telemetry.log("INFO", "webhook", body=body)
    # ruleid: payload-or-secret-logged
    telemetry.record("WARNING", "webhook", detail=change.payload)
    # ruleid: payload-or-secret-logged
    logger.warning("refused: %s", payload)
    # ruleid: payload-or-secret-logged
    logger.error("cannot be read", settings.private_key)
    # ruleid: payload-or-secret-logged
    telemetry.log("INFO", "exported", row)
    # ok: payload-or-secret-logged
    telemetry.log("INFO", "exported", label_hash=change.label_hash, bytes=len(body))
    # ok: payload-or-secret-logged
    logger.warning("refused: %s", change.event_type)


def requests_to(host):
    # ruleid: request-without-timeout
    requests.get(host)
    # ruleid: request-without-timeout
    urllib.request.urlopen(host)
    # ruleid: request-without-timeout
    socket.create_connection((host, 443))
    # ruleid: request-without-timeout
    http.client.HTTPSConnection(host)
    # ok: request-without-timeout
    requests.post(host, json={}, timeout=5)
    # ok: request-without-timeout
    urllib.request.urlopen(host, timeout=5)
    # ok: request-without-timeout
    socket.create_connection((host, 443), timeout=5)


def programs(name):
    # ruleid: program-started-by-a-shell
    subprocess.run(f"docker rm {name}", shell=True, check=True)
    # ruleid: program-started-by-a-shell
    os.system(name)
    # ok: program-started-by-a-shell
    subprocess.run(["docker", "rm", name], check=True)


def certificates(host, context):
    # ruleid: certificate-not-verified
    requests.get(host, verify=False, timeout=5)
    # ruleid: certificate-not-verified
    context.check_hostname = False
    # ruleid: certificate-not-verified
    context.verify_mode = ssl.CERT_NONE
    # ok: certificate-not-verified
    requests.get(host, verify="ca.pem", timeout=5)


def clients(adapters):
    # ruleid: aws-client-outside-the-adapters
    boto3.client("s3")
    # ruleid: aws-client-outside-the-adapters
    botocore.session.get_session()
    # ok: aws-client-outside-the-adapters
    adapters.client("s3")


def encord(row, label):
    # ruleid: write-to-encord
    row.initialise_labels()
    # ruleid: write-to-encord
    query = {"query_type": "labelrow", "query_method": "PUT", "values": {"uid": label}}
    # ok: write-to-encord
    query = {"query_type": "labelrow", "query_method": "GET", "values": {"uid": label}}
    return query


def tables(open_tables, folder):
    # ruleid: duckdb-without-bounds
    duckdb.connect(":memory:")
    # ruleid: duckdb-without-bounds
    duckdb.sql("SELECT 1")
    # ok: duckdb-without-bounds
    return open_tables(only=folder)
