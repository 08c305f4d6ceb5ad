// What keeps a daemon from starting, as `skep doctor` and a dry run tell it before one is started.
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/skip.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace fs = std::filesystem;

namespace {

std::string bytes_of_file(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

struct state_world : cli_world {
  /// The check `name` of `skep doctor`; null where it was not made.
  json check(const std::string& name) const {
    auto doc = skep({"doctor", "--json"}).document();
    for (const auto& c : doc["checks"])
      if (c["name"] == name) return c;
    return json{};
  }
  /// The problems of a dry run that ends with `code`.
  json problems(int code) const {
    auto x = run({"--dry-run", "--json", "--", "true"});
    INFO(x.out << x.err);
    CHECK(x.code == code);
    auto plan = x.document()["dry_run"];
    CHECK(plan["would_start"] == (code == 0));
    return plan["problems"];
  }
};

} // namespace

TEST_CASE_METHOD(state_world,
                 "a damaged database is told by doctor and by a dry run, and is left as it is") {
  REQUIRE(skep({"db", "migrate"}).code == 0);
  const auto file = state + "/skep.db";
  CHECK(check("database")["verdict"] == "ok");
  CHECK(problems(0).empty());
  // Its last pages, none of which says what the schema is.
  constexpr std::size_t three_pages = 3 * 4096;
  auto data = bytes_of_file(file);
  REQUIRE(data.size() > 8 * three_pages);
  data.replace(data.size() - three_pages, three_pages, std::string(three_pages, '\xff'));
  write_text(file, data);
  auto told = check("database");
  INFO(told.dump());
  CHECK(told["verdict"] == "missing");
  CHECK(told["problem"]["code"] == "corrupt_database");
  CHECK(skep({"doctor"}).out.find("Ready.") == std::string::npos);
  auto refused = problems(74);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].get<std::string>().starts_with("corrupt_database: "));
  CHECK(bytes_of_file(file) == data);
}

TEST_CASE_METHOD(state_world, "a copied state directory refuses a dry run, and doctor says what "
                              "each of the two decisions does") {
  REQUIRE(skep({"db", "migrate"}).code == 0);
  REQUIRE(skep({"db", "rebind", "--keep-id"}).code == 0); // what the first skepd does
  CHECK(problems(0).empty());
  fs::rename(state, dir.path + "/moved");
  state = dir.path + "/moved";
  auto refused = problems(65);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].get<std::string>().starts_with("copied_state: "));
  auto hint = check("installation")["problem"]["hint"].get<std::string>();
  CHECK(hint.find("`skep db rebind --keep-id` when the original is gone") != std::string::npos);
  auto text = skep({"doctor"}).out;
  INFO(text);
  CHECK(text.find("\nskep db rebind --keep-id: the original is gone") != std::string::npos);
  CHECK(text.find("\nskep db rebind --new-id: both live on") != std::string::npos);
}

TEST_CASE_METHOD(state_world, "a state directory that cannot be made is told by doctor and refuses "
                              "a dry run as it does a run") {
  write_text(dir.path + "/file", "");
  state = dir.path + "/file/state";
  auto refused = problems(74);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].get<std::string>().starts_with("io: "));
  auto told = check("state");
  INFO(told.dump());
  CHECK(told["verdict"] == "missing");
  CHECK(told["problem"]["code"] == "io");
  CHECK(told["problem"]["cause"] == "Not a directory");
  CHECK(skep({"doctor"}).out.find("Ready.") == std::string::npos);
  CHECK(run({"--", "true"}).code == 74);
}

TEST_CASE_METHOD(state_world, "a state directory that its user may not enter is told with the way "
                              "out, and not as a daemon that does not run") {
  if (::geteuid() == 0) SKEP_SKIP("root may enter every directory");
  REQUIRE(skep({"db", "migrate"}).code == 0);
  fs::permissions(state, fs::perms::none);
  auto x = skep({"ps", "--json"});
  auto told = check("state");
  auto refused = problems(74);
  fs::permissions(state, fs::perms::owner_all);
  INFO(x.out << told.dump());
  CHECK(x.code == 74);
  CHECK(x.document()["error"]["code"] == "io");
  CHECK(x.document()["error"]["cause"] == "Permission denied");
  CHECK(x.document()["error"]["message"].get<std::string>().find("chmod 700 ")
        != std::string::npos);
  CHECK(told["problem"]["code"] == "io");
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].get<std::string>().starts_with("io: "));
}
