"""The parts of functions in a VPC: their versions, and the interfaces that Lambda has not deleted yet."""

from __future__ import annotations

from fake_aws import Fake, RefusedError, Values, done, run

OURS = "AWS Lambda VPC ENI-function-0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f"
ANOTHERS = "AWS Lambda VPC ENI-function-catalog-0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f"
IN_A_VPC: Values = {"VpcConfig": {"SubnetIds": ["subnet-a"], "SecurityGroupIds": ["sg-a"]}}
OUTSIDE: Values = {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}


class FakeAccount(Fake):
    """Lambda with one function, and EC2 with interfaces of two."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = [{"Version": "$LATEST", **OUTSIDE}, {"Version": "1", **IN_A_VPC}, {"Version": "2"}]

    def list_versions_by_function(self, p: Values) -> Values:
        if p["FunctionName"] != "function":
            raise RefusedError("ResourceNotFoundException")
        # One version on a page.
        page = int(p.get("Marker", "0"))
        marker = {"NextMarker": str(page + 1)} if page + 1 < len(self.versions) else {}
        return {"Versions": [self.versions[page]], **marker}

    def describe_network_interfaces(self, p: Values) -> Values:
        (only,) = p["Filters"]
        prefix = only["Values"][0].removesuffix("*")
        found = {"eni-1": OURS, "eni-2": ANOTHERS}
        return {
            "NetworkInterfaces": [
                {"NetworkInterfaceId": key, "Description": text}
                for key, text in found.items()
                if text.startswith(prefix)
            ]
        }


def test_versions_in_a_vpc_are_found_and_ec2_is_not_asked() -> None:
    fake = FakeAccount()
    fake.refusals["describe_network_interfaces"] = ("UnauthorizedOperation", 1)
    for check in (True, False):
        result = done("lambda_network_info", fake, check=check, function_names=["function", "gone"])
        assert (result["changed"], result["vpc_versions"], result["interfaces"]) == (False, ["function:1"], [])


def test_the_interfaces_of_exactly_these_functions_are_found() -> None:
    fake = FakeAccount()
    assert done("lambda_network_info", fake, function_names=["function"], interfaces=True)["interfaces"] == ["eni-1"]
    both = done("lambda_network_info", fake, function_names=["function", "function-catalog"], interfaces=True)
    assert both["interfaces"] == ["eni-1", "eni-2"]


def test_a_missing_permission_is_reported() -> None:
    fake = FakeAccount()
    fake.refusals["describe_network_interfaces"] = ("UnauthorizedOperation", 1)
    message = run("lambda_network_info", fake, function_names=["function"], interfaces=True)["msg"]
    assert "The VPC configuration of function could not be read" in message
    assert "The credentials lack a permission" in message
