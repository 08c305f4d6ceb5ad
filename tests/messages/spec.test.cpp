#include "messages/commands.hpp"
#include "tests/support/catch.hpp"

#include <functional>

using namespace skep;

namespace {

/// A spec that is sound in every respect.
swarm_spec sound() {
  swarm_spec s;
  s.repo = "/repo";
  s.out_dir = "/out";
  s.argv = {"/bin/true", "x"};
  s.sandboxes = 2;
  s.panes = 3;
  s.env = {{"A", "1"}};
  return s;
}

swarm_spec sound_claude() {
  auto s = sound();
  s.agent = agent_kind::claude;
  s.argv.clear();
  s.prompts = {"do it"};
  return s;
}

struct rule {
  const char* what;
  std::function<void(swarm_spec&)> breaks;
  errc code;
};

/// Every rule refuses a spec in which nothing else is wrong.
void check_rules(const swarm_spec& good, const std::vector<rule>& rules) {
  REQUIRE_FALSE(check_spec(good));
  for (const auto& r : rules) {
    INFO(r.what);
    auto s = good;
    r.breaks(s);
    auto e = check_spec(s);
    CHECK(e.code == r.code);
    CHECK((!e.message.empty() || e.code == errc::prompt_missing));
  }
}

void check_accepted(
    const swarm_spec& good,
    const std::vector<std::pair<const char*, std::function<void(swarm_spec&)>>>& list) {
  for (const auto& [what, change] : list) {
    INFO(what);
    auto s = good;
    change(s);
    auto e = check_spec(s);
    INFO(render(e));
    CHECK(e.code == errc::none);
  }
}

const std::string nul(1, '\0');

} // namespace

TEST_CASE("an idempotency key is short and plain, or there is none") {
  for (const char* good : {"", "k", "job-7", "A.b_c:9", "...."})
    CHECK_FALSE(check_key(good));
  CHECK_FALSE(check_key(std::string(64, 'k')));
  for (const char* bad : {"job 7", "../../x", "a/b", "a\nb", "\x01", "k\xc3\xa4"})
    CHECK(check_key(bad).code == errc::bad_argument);
  CHECK(check_key(std::string(65, 'k')).code == errc::bad_argument);
  CHECK(check_key(std::string_view{"a\0b", 3}).code == errc::bad_argument);
}

TEST_CASE("a spec at its fallback has that provider and no other, and a template that is there") {
  auto s = sound();
  s.provider = "cloud";
  s.template_name = "mine";
  s.fallback = "spare";
  auto there = at_fallback(s);
  CHECK(there.provider == "spare");
  CHECK(there.fallback.empty());
  CHECK(there.template_name == "mine");
  CHECK(there.argv == s.argv);
  s.fallback = "local";
  CHECK(at_fallback(s).template_name == "base");
}

TEST_CASE("a selection by provider means each run that may make sandboxes there") {
  auto s = sound();
  s.provider = "cloud";
  s.fallback = "spare";
  selection there;
  there.provider = "spare";
  CHECK(selects(there, s, {"sw_a"}));
  there.provider = "cloud";
  CHECK(selects(there, s, {"sw_a"}));
  there.provider = "local";
  CHECK_FALSE(selects(there, s, {"sw_a"}));
  selection one;
  one.swarm = {"sw_a"};
  CHECK(selects(one, s, {"sw_a"}));
  s.fallback.clear(); // no provider is selected, and none is the fallback
  CHECK_FALSE(selects(one, s, {"sw_b"}));
}

TEST_CASE("each rule of a spec refuses a spec that breaks it alone") {
  check_rules(
      sound(),
      {{"no sandbox", [](auto& s) { s.sandboxes = 0; }, errc::out_of_range},
       {"1,001 sandboxes", [](auto& s) { s.sandboxes = 1'001; }, errc::out_of_range},
       {"most sandboxes", [](auto& s) { s.sandboxes = ~0u; }, errc::out_of_range},
       {"no pane", [](auto& s) { s.panes = 0; }, errc::out_of_range},
       {"101 panes", [](auto& s) { s.panes = 101; }, errc::out_of_range},
       {"most panes", [](auto& s) { s.panes = ~0u; }, errc::out_of_range},
       {"limit of 999 ms", [](auto& s) { s.limit_ms = 999; }, errc::out_of_range},
       {"no limit", [](auto& s) { s.limit_ms = 0; }, errc::out_of_range},
       {"negative limit", [](auto& s) { s.limit_ms = -1; }, errc::out_of_range},
       {"more than a day", [](auto& s) { s.limit_ms = 86'400'001; }, errc::out_of_range},
       {"a terminal and a prompt",
        [](auto& s) {
          s.pty = true;
          s.prompts = {"p"};
        },
        errc::bad_argument},
       {"11 restarts", [](auto& s) { s.pane_restarts = 11; }, errc::out_of_range},
       {"a fallback to the provider itself", [](auto& s) { s.fallback = s.provider; },
        errc::bad_argument},
       {"a fallback like an option", [](auto& s) { s.fallback = "-x"; }, errc::bad_argument},
       {"no repository", [](auto& s) { s.repo.clear(); }, errc::bad_argument},
       {"relative repository", [](auto& s) { s.repo = "repo"; }, errc::bad_argument},
       {"dotted repository", [](auto& s) { s.repo = "./repo"; }, errc::bad_argument},
       {"no output folder", [](auto& s) { s.out_dir.clear(); }, errc::bad_argument},
       {"relative output folder", [](auto& s) { s.out_dir = "out"; }, errc::bad_argument},
       {"a zero byte in the output folder",
        [](auto& s) {
          s.out_dir = std::string{"/out\0/x", 7};
        },
        errc::bad_argument},
       {"a zero byte in the repository",
        [](auto& s) {
          s.repo = std::string{"/re\0po", 6};
        },
        errc::bad_argument},
       {"no program", [](auto& s) { s.argv.clear(); }, errc::bad_argument},
       {"empty program",
        [](auto& s) {
          s.argv = {"", "x"};
        },
        errc::bad_argument},
       {"NUL in the program", [](auto& s) { s.argv = {"a" + nul}; }, errc::bad_argument},
       {"NUL in the last argument",
        [](auto& s) {
          s.argv = {"a", "b", nul};
        },
        errc::bad_argument},
       {"variable without name",
        [](auto& s) {
          s.env = {{"", "x"}};
        },
        errc::bad_argument},
       {"= in a variable's name",
        [](auto& s) {
          s.env = {{"A=B", "x"}};
        },
        errc::bad_argument},
       {"NUL in a variable's name",
        [](auto& s) {
          s.env = {{"A" + nul, "x"}};
        },
        errc::bad_argument},
       {"NUL in a variable",
        [](auto& s) {
          s.env = {{"A", "x" + nul}};
        },
        errc::bad_argument},
       {"second variable", [](auto& s) { s.env["Z="] = "x"; }, errc::bad_argument},
       {"name that is not UTF-8", [](auto& s) { s.name = "\xff"; }, errc::bad_argument},
       {"argument that is not UTF-8",
        [](auto& s) {
          s.argv = {"a", "\xc3"};
        },
        errc::bad_argument},
       {"variable that is not UTF-8",
        [](auto& s) {
          s.env = {{"A", "\xed\xa0\x80"}};
        },
        errc::bad_argument},
       {"variable's name that is not UTF-8",
        [](auto& s) {
          s.env = {{"\xc0\x80", "x"}};
        },
        errc::bad_argument},
       {"allowlist without hosts", [](auto& s) { s.network = network_policy::allowlist; },
        errc::bad_argument},
       {"hosts without a policy for them", [](auto& s) { s.allow_hosts = {"a.b"}; },
        errc::bad_argument},
       {"hosts beside open",
        [](auto& s) {
          s.network = network_policy::open;
          s.allow_hosts = {"a.b"};
        },
        errc::bad_argument},
       {"101 hosts",
        [](auto& s) {
          s.network = network_policy::packages;
          s.allow_hosts.assign(101, "a.b");
        },
        errc::out_of_range},
       {"a setup without a program",
        [](auto& s) {
          s.setup = {"", "x"};
        },
        errc::bad_argument},
       {"NUL in the setup",
        [](auto& s) {
          s.setup = {"a", nul};
        },
        errc::bad_argument},
       {"setup that is not UTF-8", [](auto& s) { s.setup = {"\xff"}; }, errc::bad_argument},
       {"two prompts for six panes", [](auto& s) { s.prompts.assign(2, "p"); }, errc::bad_argument},
       {"seven prompts for six panes", [](auto& s) { s.prompts.assign(7, "p"); },
        errc::bad_argument},
       {"empty prompt", [](auto& s) { s.prompts = {""}; }, errc::prompt_missing},
       {"one bad prompt of six",
        [](auto& s) {
          s.prompts.assign(6, "p");
          s.prompts[5] = nul;
        },
        errc::prompt_has_nul}});
}

TEST_CASE("an agent with a model needs a prompt") {
  check_rules(
      sound_claude(),
      {{"no prompt", [](auto& s) { s.prompts.clear(); }, errc::prompt_missing},
       {"empty prompt", [](auto& s) { s.prompts = {""}; }, errc::prompt_missing},
       {"long prompt", [](auto& s) { s.prompts = {std::string(100'001, 'x')}; },
        errc::prompt_too_long},
       {"NUL in the prompt", [](auto& s) { s.prompts = {"a" + nul}; }, errc::prompt_has_nul}});
}

TEST_CASE("the ends of every range are accepted") {
  check_accepted(sound(),
                 {{"one sandbox", [](auto& s) { s.sandboxes = 1; }},
                  {"1,000 sandboxes", [](auto& s) { s.sandboxes = 1'000; }},
                  {"one pane", [](auto& s) { s.panes = 1; }},
                  {"100 panes", [](auto& s) { s.panes = 100; }},
                  {"limit of a second", [](auto& s) { s.limit_ms = 1'000; }},
                  {"limit of a day", [](auto& s) { s.limit_ms = 86'400'000; }},
                  {"10 restarts", [](auto& s) { s.pane_restarts = 10; }},
                  {"repository is the root", [](auto& s) { s.repo = "/"; }},
                  {"empty argument",
                   [](auto& s) {
                     s.argv = {"a", ""};
                   }},
                  {"empty variable",
                   [](auto& s) {
                     s.env = {{"A", ""}};
                   }},
                  {"= in a variable",
                   [](auto& s) {
                     s.env = {{"A", "x=y"}};
                   }},
                  {"no variables", [](auto& s) { s.env.clear(); }},
                  {"one prompt", [](auto& s) { s.prompts = {"p"}; }},
                  {"a prompt a pane", [](auto& s) { s.prompts.assign(6, "p"); }},
                  {"longest prompt", [](auto& s) { s.prompts = {std::string(100'000, 'x')}; }}});
  check_accepted(sound_claude(), {{"no program", [](auto& s) { s.argv.clear(); }}});
}

TEST_CASE("an error about a variable shows a bounded part of its name and never its value") {
  auto s = sound();
  s.env = {{std::string(500, 'N') + "=", "the secret"}};
  auto e = check_spec(s);
  CHECK(e.code == errc::bad_argument);
  CHECK(e.message.size() < 120);
  CHECK(render(e).find("the secret") == std::string::npos);
}

TEST_CASE("what is wrong with a host to allow is said with that host, and acts on no terminal") {
  auto said = [](const std::string& host) {
    auto s = sound();
    s.network = network_policy::allowlist;
    s.allow_hosts = {"good.example.com", host, "also.example.com"};
    return check_spec(s).message;
  };
  const std::string rest = " is no host name such as api.example.com or *.example.com";
  CHECK(said("bad_host.example.com") == "\"bad_host.example.com\"" + rest);
  CHECK(said("") == "\"\"" + rest);
  CHECK(said("a b.c") == "\"a b.c\"" + rest);
  CHECK(said("a\x1b[2J.com") == "\"a\\x1b[2J.com\"" + rest);
  CHECK(said("b\xc3\xbc"
             "cher.de")
        == "\"b\\xc3\\xbccher.de\"" + rest);
  CHECK(said(std::string(300, 'a')) == "\"" + std::string(100, 'a') + "...\"" + rest);
}

TEST_CASE("a host to allow is a name with a dot, or *. before one") {
  auto verdict = [](const std::string& host) {
    auto s = sound();
    s.network = network_policy::allowlist;
    s.allow_hosts = {"good.example.com", host};
    return check_spec(s).code;
  };
  for (const char* good :
       {"a.b", "api.example.com", "*.example.com", "xn--bcher-kva.example", "1.a"}) {
    CAPTURE(good);
    CHECK(verdict(good) == errc::none);
  }
  for (const char* bad : {"",
                          "*",
                          "*.",
                          "*.com.",
                          "localhost",
                          "*.*.com",
                          "a.*.com",
                          "ex*.com",
                          ".a.b",
                          "a..b",
                          "a.b.",
                          "A.b",
                          "a b.c",
                          "a_b.c",
                          "-a.b",
                          "a-.b",
                          "a.b:443",
                          "a.b/c",
                          "http://a.b",
                          "user@a.b",
                          "10.0.0.1",
                          "127.1",
                          "0x7f.1",
                          "1.2.3.0/24",
                          "::1",
                          "b\xc3\xbc"
                          "cher.de",
                          "a.b\n"}) {
    CAPTURE(bad);
    CHECK(verdict(bad) == errc::bad_argument);
  }
  CHECK(verdict(std::string(64, 'a') + ".b") == errc::bad_argument);
  CHECK(verdict(std::string(63, 'a') + ".b") == errc::none);
}

TEST_CASE("an agent that needs a model is not cut off from it") {
  auto s = sound_claude();
  s.network = network_policy::none;
  CHECK(check_spec(s).code == errc::bad_argument);
  auto plain = sound();
  plain.network = network_policy::none;
  CHECK_FALSE(check_spec(plain));
}

TEST_CASE("times out of range are told in the units that people write them in") {
  auto says = [](const std::function<void(swarm_spec&)>& breaks) {
    auto s = sound();
    breaks(s);
    return check_spec(s).message;
  };
  CHECK(says([](swarm_spec& s) { s.limit_ms = 0; }) == "the time limit must be between 1s and 24h");
  CHECK(says([](swarm_spec& s) { s.limit_ms = 25 * 3'600'000; })
        == "the time limit must be between 1s and 24h");
  CHECK(says([](swarm_spec& s) { s.warn_at_ms = {999}; })
        == "a time warning must be between 1s and 24h");
  CHECK(says([](swarm_spec& s) { s.idle_limit_ms = 1; })
        == "the idle limit must be between 1s and 24h");
}
