// Results that look like the folder of a killed apply: they are files as any other.
#include "tests/transfer/results_fixture.hpp"
#include "transfer/apply.hpp"
#include "transfer/apply_branch.hpp"
#include "transfer/apply_stage.hpp"

#include <cstdlib>
#include <map>
#include <sys/stat.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

/// What a stage holds, in folders of its name: something of the user's without a list and with one,
/// copies alone by its mark and by its list.
const std::map<std::string, std::string> imitations{
    {".skep-apply-AAAAAA/0", "as if it were yours\n"},
    {".skep-apply-BBBBBB/0", "no copy of a result\n"},
    {".skep-apply-BBBBBB/list", "0 1 7 7 7 7 a\n"},
    {".skep-apply-CCCCCC/0", "a test of the agent's\n"},
    {".skep-apply-CCCCCC/copies-only", ""},
    {".skep-apply-DDDDDD/list", "# nothing\n"},
    {".skep-apply-EEEEEE", "a file\n"}};

/// p0 brings the imitations, p1 a file that is taken over after them.
struct hostile : swarm_results {
  hostile() {
    user.put("a", "a\n");
    user.commit();
    begin();
    pane("p0", [](const repo& r) {
      r.put("a", "agent\n");
      for (const auto& [path, text] : imitations)
        r.put(path, text);
    });
    pane("p1", [](const repo& r) { r.put("b", "of p1\n"); });
  }
  result<take_report> take(std::size_t pane, take_mode mode) const {
    return take_over(dir(), base(), {panes().at(pane)}, {user.path, mode, false});
  }
  void imitations_are_there() const {
    for (const auto& [path, text] : imitations) {
      INFO(path);
      REQUIRE(exists(user / path));
      CHECK(get(user / path) == text);
    }
  }
};

/// With 077 a folder of results has the permissions of mkdtemp(3).
struct under_umask {
  mode_t before;
  explicit under_umask(mode_t mask) : before(::umask(mask)) {}
  under_umask(const under_umask&) = delete;
  ~under_umask() { ::umask(before); }
};

} // namespace

TEST_CASE("results that look like the folder of a killed apply are written, and neither stop the "
          "next apply nor are removed by it") {
  for (mode_t mask : {022u, 077u})
    for (auto mode : {take_mode::files, take_mode::patch}) {
      hostile w;
      under_umask narrow{mask};
      auto first = w.take(0, mode);
      REQUIRE(first.ok());
      CHECK(first->count(taken_path::what::written) == imitations.size() + 1);
      auto next = w.take(1, mode);
      INFO((next ? "" : render(next.err())));
      REQUIRE(next.ok());
      CHECK(next->count(taken_path::what::written) == 1);
      CHECK(get(w.user / "b") == "of p1\n");
      w.imitations_are_there();
    }
}

TEST_CASE("a branch whose files look like the folder of a killed apply stops no apply once it is "
          "checked out") {
  for (mode_t mask : {022u, 077u}) {
    hostile w;
    under_umask narrow{mask};
    branch_options to{w.user.path, "looks", {}, {"Ada", "ada@example.org", "options", false}};
    REQUIRE(make_branch(w.dir(), w.base(), w.panes().at(0), to).ok());
    git(w.user.path, {"checkout", "-q", "looks"});
    auto next = w.take(1, take_mode::files);
    INFO((next ? "" : render(next.err())));
    REQUIRE(next.ok());
    CHECK(get(w.user / "b") == "of p1\n");
    w.imitations_are_there();
  }
}

TEST_CASE("beside an agent's folders of its name the folder of a killed apply is still found") {
  hostile w;
  REQUIRE(w.take(0, take_mode::files).ok());
  auto left = w.user / stage_template();
  REQUIRE(::mkdtemp(left.data()));
  {
    auto stage = unique_fd{::open(left.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    REQUIRE(stage);
    REQUIRE(claim_stage(stage.get()).ok());
  }
  put(left + "/0", "the user's own\n");
  auto refused = w.take(1, take_mode::files);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::apply_unfinished);
  CHECK(refused.err().message == left + " holds what lay here before: 0");
  CHECK(get(left + "/0") == "the user's own\n");
  // One of copies alone goes, and they stay.
  put(left + "/copies-only", "");
  REQUIRE(w.take(1, take_mode::files).ok());
  CHECK_FALSE(exists(left));
  w.imitations_are_there();
}
