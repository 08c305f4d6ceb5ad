// What skep.toml may say, as `skep doctor` tells it.
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace {

/// The check `name` of `skep doctor` with this skep.toml.
json check_of(cli_world& w, const std::string& text, const std::string& name) {
  std::filesystem::create_directories(w.state);
  std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
  write_text(w.state + "/skep.toml", text);
  auto doc = w.skep({"doctor", "--json"}).document();
  for (const auto& c : doc["checks"])
    if (c["name"] == name) return c;
  return json{};
}

} // namespace

TEST_CASE("network_check is require or warn, of one provider alone, and doctor shows a warn") {
  cli_world w;
  const std::string far = "[providers.far]\napi_url = \"http://127.0.0.1:1\"\nkey = \"FAR_KEY\"\n";
  const std::string near = "[providers.near]\napi_url = \"http://127.0.0.1:1\"\nkey = \"K\"\n";
  const auto one = far + "network_check = \"warn\"\n" + near;
  CHECK(check_of(w, one, "provider far")["text"]
        == "answers; network_check = \"warn\": a sandbox whose network fails the look is kept");
  CHECK(check_of(w, one, "provider near")["text"] == "answers");
  CHECK(check_of(w, far + "network_check = \"require\"\n", "provider far")["text"] == "answers");
  struct mistake {
    std::string text;
    const char* says;
  };
  const mistake mistakes[] = {
      {far + "network_check = \"off\"\n", "skep.toml:4: network_check takes require or warn"},
      {far + "network_check = \"\"\n", "skep.toml:4: network_check takes require or warn"},
      {far + "network_check = false\n", "skep.toml:4: network_check must be a string"},
      {"[local]\nnetwork_check = \"warn\"\n", "skep.toml:2: unknown key 'network_check'"},
      {"[policy]\nnetwork_check = \"warn\"\n", "skep.toml:2: "}};
  for (const auto& m : mistakes) {
    auto problem = check_of(w, m.text, "configuration")["problem"];
    INFO(m.text << problem.dump());
    REQUIRE(problem.is_object());
    CHECK(problem["code"] == "bad_config");
    CHECK(problem["message"].get<std::string>().find(m.says) != std::string::npos);
  }
}

TEST_CASE(
    "a SKEP_CONFIG that names no file, or not from the root on, is refused and not forgotten") {
  cli_world w;
  write_text(w.home + "/other.toml", "[budget]\nday_usd = 1.5\n");
  auto with = [&](const std::string& file) {
    auto argv = w.argv({"doctor", "--json"});
    argv.insert(argv.begin(), {"/usr/bin/env", "SKEP_CONFIG=" + file});
    auto doc = run_to_end(argv, w.home, {}, w.home).document();
    for (const auto& c : doc["checks"])
      if (c["name"] == "configuration") return c;
    return json{};
  };
  CHECK(with(w.home + "/other.toml")["text"] == w.home + "/other.toml");
  for (const auto& file : {w.home + "/nowhere.toml", std::string{"other.toml"}}) {
    INFO(file);
    auto problem = with(file)["problem"];
    REQUIRE(problem.is_object());
    CHECK(problem["code"] == "bad_config");
    CHECK(problem["message"].get<std::string>().find(file) != std::string::npos);
  }
}

TEST_CASE("a wind-down that would end with the kill is refused, and both times are named") {
  cli_world w;
  for (const auto* s : {"5", "19"}) {
    auto problem =
        check_of(w, "[budget]\nwind_down_s = " + std::string{s} + "\n", "configuration")["problem"];
    INFO(s << problem.dump());
    REQUIRE(problem.is_object());
    CHECK(problem["code"] == "bad_config");
    CHECK(problem["message"].get<std::string>().find(
              "skep.toml:2: wind_down_s takes 20 to 3600 seconds: what does not stop is killed 5 s "
              "before the cap")
          != std::string::npos);
  }
  CHECK(check_of(w, "[budget]\nwind_down_s = 20\n", "configuration")["problem"].is_null());
}

TEST_CASE(
    "a number of [policy] that does not fit, or not with the others, is named with its line") {
  cli_world w;
  struct mistake {
    std::string text;
    const char* says;
  };
  const mistake mistakes[] = {
      {"actor_restarts = -1\n", "skep.toml:2: actor_restarts takes a whole number from 0 to 1000"},
      {"actor_restart_period_s = 0\n", "skep.toml:2: actor_restart_period_s takes"},
      {"actor_backoff_min_s = 1.5\n", "skep.toml:2: actor_backoff_min_s takes a whole number"},
      {"actor_backoff_min_s = 61\n",
       "skep.toml:1: policy supervision.backoff_max must not be below"},
      {"step_attempts = 0\n", "skep.toml:2: step_attempts takes a whole number from 1 to 20"},
      {"loss_looks = 21\n", "skep.toml:2: loss_looks takes a whole number from 1 to 20"},
      {"warn_at_s = [600, 300]\n", "skep.toml:2: warn_at_s must ascend"},
      {"pane_wait_first_s = 61\n",
       "skep.toml:1: policy pane_wait_first must not exceed pane_wait_most"}};
  for (const auto& m : mistakes) {
    auto problem = check_of(w, "[policy]\n" + m.text, "configuration")["problem"];
    INFO(m.text << problem.dump());
    REQUIRE(problem.is_object());
    CHECK(problem["code"] == "bad_config");
    CHECK(problem["message"].get<std::string>().find(m.says) != std::string::npos);
  }
  CHECK(check_of(w,
                 "[policy]\nactor_restarts = 0\nactor_backoff_min_s = 60\n"
                 "actor_restart_period_s = 86400\n",
                 "configuration")["problem"]
            .is_null());
}

TEST_CASE("a folder of [local] bind that cannot be shown is named with file, line and key by "
          "doctor, by a dry run and by a run") {
  cli_world w;
  struct mistake {
    const char *folder, *says, *cause;
  };
  const mistake mistakes[] = {
      {"/nonexistent", "skep.toml:2: local.bind: /nonexistent", "No such file or directory"},
      {"/etc", "skep.toml:2: local.bind: /etc would show too much", ""}};
  for (const auto& m : mistakes) {
    INFO(m.folder);
    auto found =
        check_of(w, "[local]\nbind = [\"" + std::string{m.folder} + "\"]\n", "configuration");
    std::vector<json> problems{found["problem"]};
    for (auto words : {std::vector<std::string>{"--json", "--", "true"},
                       std::vector<std::string>{"--dry-run", "--json", "--", "true"}}) {
      auto x = w.run(words);
      CHECK(x.code == 78);
      problems.push_back(x.document()["error"]);
    }
    for (const auto& p : problems) {
      INFO(p.dump());
      REQUIRE(p.is_object());
      CHECK(p["code"] == "bad_config");
      CHECK(p["message"].get<std::string>().ends_with(m.says));
      CHECK(p["cause"] == m.cause);
    }
  }
  CHECK(check_of(w, "[local]\nbind = [\"/usr/share\"]\n", "configuration")["problem"].is_null());
}
