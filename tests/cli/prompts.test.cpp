// skep run: its prompts, before anything is made.
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli_test;

TEST_CASE("what becomes of placeholders is told: of a prompt, of a file and of a template") {
  cli_world w;
  auto prompt = w.dir.path + "/prompt";
  auto said = [&](std::vector<std::string> options) {
    options.insert(options.begin(), "--dry-run");
    options.insert(options.end(), {"--", "cat"});
    auto x = w.run(std::move(options));
    INFO(x.err);
    CHECK(x.code == 0);
    return x.err;
  };
  const std::string filled = "become the pane's number", kept = "stay as they are";
  write_text(prompt, "Fix f'row {index}'");
  CHECK(said({"--prompt", "part {index} of {count}"}).find(filled) != std::string::npos);
  CHECK(said({"--prompt-file", prompt}).find(kept) != std::string::npos);
  auto as_template = said({"--prompt-file", prompt, "--prompt-template"});
  CHECK(as_template.find(filled) != std::string::npos);
  CHECK(as_template.find(kept) == std::string::npos);
  for (const auto& quiet : {said({"--prompt", "f'row {{index}}' {other}"}), said({})}) {
    CHECK(quiet.find(filled) == std::string::npos);
    CHECK(quiet.find(kept) == std::string::npos);
  }
  auto lone = w.run({"--prompt", "x", "--prompt-template", "--json", "--", "cat"});
  CHECK(lone.document()["error"]["code"] == "bad_argument");
}
