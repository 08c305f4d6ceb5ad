"""Templates and what else is kept beside sandboxes: a host that has one template and no snapshots says so."""
from datetime import datetime, timezone

from e2b import BuildException, Sandbox, SandboxException, Template, TemplateException

from harness import api, failure, group, run, test

NO_BUILD = "00000000-0000-4000-8000-0000000000ff"


def tags():
    return [t.tag for t in Template.get_tags("base")]


def build_id():
    return api("GET", "/templates/base").json()["builds"][0]["buildID"]


class Build:
    """What the SDK needs to know of a build to ask for its status."""

    def __init__(self, build):
        self.template_id, self.build_id = "base", build


group("templates")


@test("the template of the host exists under its name and its tag, another does not")
def _():
    assert [Template.exists(x) for x in ("base", "base:default", "base:v2", "some-other")] == [True, True, False, False]


@test("the template has the tag that every build has")
def _():
    assert tags() == ["default"]
    assert Template.get_tags("base")[0].created_at <= datetime.now(timezone.utc)
    failure(lambda: Template.get_tags("some-other"), TemplateException)


@test("the list has the template with every field that the API promises")
def _():
    answer = api("GET", "/v2/templates")
    assert "x-next-token" not in answer.headers
    base, = answer.json()
    assert (base["templateID"], base["buildStatus"]) == ("base", "ready")
    wanted = {"buildID", "cpuCount", "memoryMB", "diskSizeMB", "public", "aliases", "names", "createdAt", "updatedAt", "createdBy", "lastSpawnedAt",
              "spawnCount", "buildCount", "envdVersion"}
    assert wanted <= set(base), wanted - set(base)


@test("its one build is ready and says so until the end")
def _():
    status = Template.get_build_status(Build(build_id()))
    assert status.status.value == "ready" and status.log_entries == []


group("error: build and template")


@test("building a template is refused with what to do instead")
def _():
    error = failure(lambda: Template.build(Template().from_image("ubuntu:22.04"), "mine"), BuildException)
    assert "501" in str(error) and "the template `base`" in str(error)


@test("a build in the background is refused at once")
def _():
    assert "501" in str(failure(lambda: Template.build_in_background(Template().from_image("ubuntu:22.04"), "mine"), BuildException))


@test("the status of a build that never was")
def _():
    assert "404" in str(failure(lambda: Template.get_build_status(Build(NO_BUILD)), BuildException))


@test("tags can be neither given nor taken")
def _():
    for call in (lambda: Template.assign_tags("base", "mine"), lambda: Template.remove_tags("base", "default")):
        assert "501: Tags cannot be changed" in str(failure(call, TemplateException))
    assert tags() == ["default"]


group("snapshots and the rest")


@test("there are no snapshots, and none is deleted")
def _():
    pages = Sandbox.list_snapshots()
    assert pages.next_items() == [] and not pages.has_next
    assert Sandbox.delete_snapshot("team/none:default") is False


@test("the template of the host cannot be deleted")
def _():
    assert "cannot be deleted" in str(failure(lambda: Sandbox.delete_snapshot("base"), SandboxException))
    assert Template.exists("base") is True


@test("lists of volumes and secrets are empty, and making one is refused")
def _():
    for kind in ("volumes", "secrets"):
        assert api("GET", f"/{kind}").json() == []
        made = api("POST", f"/{kind}", json={"name": "x"})
        assert made.status_code == 501 and made.json()["code"] == 501
        assert api("GET", f"/{kind}/x").status_code == 404


@test("a page that no list has is refused")
def _():
    for path in ("/v2/templates?nextToken=x", "/snapshots?nextToken=x", "/snapshots?limit=0", "/v2/templates?limit=101"):
        answer = api("GET", path)
        assert answer.status_code == 400 and answer.json()["code"] == 400, path


run()
