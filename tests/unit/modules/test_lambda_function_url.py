"""The URL of a function, and the two statements that it needs to be public."""

from __future__ import annotations

import pytest
from fake_aws import RefusedError, Values, assert_converges, assert_gone, done
from test_lambda_permission import FakeLambda

URL = "https://a1b2.lambda-url.eu-west-1.on.aws/"
ALIAS: Values = {"function_name": "function", "qualifier": "live"}


class FakeLambdaWithUrls(FakeLambda):
    """Lambda, which stores a URL for the function and for each alias."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: dict[str, Values] = {}

    def config(self, p: Values) -> Values:
        if p.get("Qualifier", "") not in self.urls:
            raise RefusedError("ResourceNotFoundException")
        return self.urls[p.get("Qualifier", "")]

    def get_function_url_config(self, p: Values) -> Values:
        return self.config(p)

    def create_function_url_config(self, p: Values) -> Values:
        self.urls[p.get("Qualifier", "")] = {"FunctionUrl": URL, "AuthType": p["AuthType"], "InvokeMode": "BUFFERED"}
        return self.config(p)

    def update_function_url_config(self, p: Values) -> None:
        self.config(p).update({key: p[key] for key in ("AuthType", "InvokeMode", "Cors")})

    def delete_function_url_config(self, p: Values) -> None:
        self.config(p)
        del self.urls[p.get("Qualifier", "")]


def test_a_url_is_created_kept_and_removed_with_both_statements() -> None:
    fake = FakeLambdaWithUrls()
    assert assert_converges("lambda_function_url", fake, **ALIAS)["url"] == URL
    added = [(each["Action"], each["Principal"], each["Condition"]) for each in fake.state["live"]]
    assert added == [
        ("lambda:InvokeFunctionUrl", "*", {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
        ("lambda:InvokeFunction", "*", {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}),
    ]
    assert fake.urls["live"]["AuthType"] == "NONE"
    assert_gone("lambda_function_url", fake, **ALIAS)
    assert (fake.urls, fake.state["live"]) == ({}, [])


def test_statements_of_others_stay() -> None:
    fake = FakeLambdaWithUrls()
    theirs = {"function_name": "function", "qualifier": "live", "statement_id": "theirs", "principal": "*"}
    done("lambda_permission", fake, **theirs)
    before = list(fake.state["live"])
    done("lambda_function_url", fake, **ALIAS)
    done("lambda_function_url", fake, **ALIAS, state="absent")
    assert fake.state["live"] == before


@pytest.mark.parametrize(
    ("drift", "healed"),
    [
        ({"AuthType": "AWS_IAM"}, "auth_type"),
        ({"InvokeMode": "RESPONSE_STREAM"}, "invoke_mode"),
        ({"Cors": {"AllowOrigins": ["*"]}}, "cors"),
    ],
)
def test_a_url_that_was_changed_is_corrected_and_stays_the_same_url(drift: Values, healed: str) -> None:
    fake = FakeLambdaWithUrls()
    done("lambda_function_url", fake, **ALIAS)
    fake.urls["live"].update(drift)
    result = assert_converges("lambda_function_url", fake, **ALIAS)
    assert list(result["diff"]["after"]) == [healed]
    assert result["url"] == URL


@pytest.mark.parametrize("lost", [0, 1])
def test_a_statement_that_is_lost_or_changed_is_restored(lost: int) -> None:
    fake = FakeLambdaWithUrls()
    done("lambda_function_url", fake, **ALIAS)
    wanted = list(fake.state["live"])
    fake.state["live"][lost] = {**wanted[lost], "Condition": {}}
    assert_converges("lambda_function_url", fake, **ALIAS)
    assert sorted(fake.state["live"], key=str) == sorted(wanted, key=str)
    del fake.state["live"][lost]
    assert_converges("lambda_function_url", fake, **ALIAS)
    assert sorted(fake.state["live"], key=str) == sorted(wanted, key=str)


@pytest.mark.parametrize("left", ["url", "statements"])
def test_the_rest_of_an_interrupted_removal_is_removed(left: str) -> None:
    fake = FakeLambdaWithUrls()
    done("lambda_function_url", fake, **ALIAS)
    if left == "url":
        fake.state["live"].clear()
    else:
        fake.urls.clear()
    assert_gone("lambda_function_url", fake, **ALIAS)
    assert (fake.urls, fake.state["live"]) == ({}, [])
