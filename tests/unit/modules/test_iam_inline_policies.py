"""Inline policies of roles: all are removed, and none of another role."""

from __future__ import annotations

from fake_aws import Fake, RefusedError, Values, assert_converges, done, run

ROLES = ["exporter", "catalog", "not-created"]


class FakeIam(Fake):
    """IAM, which stores the names of each role's inline policies and returns one on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"exporter": [], "catalog": [], "of-others": ["theirs"]}

    def list_role_policies(self, p: Values) -> Values:
        if p["RoleName"] not in self.state:
            raise RefusedError("NoSuchEntity")
        names, begin = self.state[p["RoleName"]], int(p.get("Marker", "0"))
        more = begin + 1 < len(names)
        page = {"PolicyNames": names[begin : begin + 1], "IsTruncated": more}
        return {**page, "Marker": str(begin + 1)} if more else page

    def delete_role_policy(self, p: Values) -> None:
        self.state[p["RoleName"]].remove(p["PolicyName"])


def test_every_inline_policy_of_the_roles_is_removed() -> None:
    fake = FakeIam()
    fake.state["catalog"] = ["second", "first"]
    result = assert_converges("iam_inline_policies", fake, roles=ROLES)
    assert result["removed"] == {"catalog": ["first", "second"]}
    assert result["diff"] == {"before": {"catalog": ["first", "second"]}, "after": {"catalog": []}}
    assert fake.state == {"exporter": [], "catalog": [], "of-others": ["theirs"]}


def test_roles_that_do_not_exist_have_none() -> None:
    fake = FakeIam()
    fake.state.clear()
    for check in (True, False):
        assert not done("iam_inline_policies", fake, roles=ROLES, check=check)["changed"]


def test_a_refusal_is_reported() -> None:
    fake = FakeIam()
    fake.refusals["list_role_policies"] = ("AccessDenied", 1)
    result = run("iam_inline_policies", fake, roles=ROLES)
    assert result["failed"]
    assert result["msg"].startswith("The roles' inline policies could not be removed")
