// skep files, skep run --dry-run, and the scan before a run.
#include "tests/cli/program.hpp"
#include "tests/cli/schemas.hpp"
#include "tests/storage/support.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <set>
#include <sys/stat.h>

using namespace skep;
using namespace skep::cli_test;

namespace {

/// A value of GitHub's form, put together here: no scanner finds it in this file.
std::string value_of_github() {
  return std::string{"github"} + "_pat_" + "11AXKQZPM0t7w2r9d4y5v6" + "_"
         + "Zk3Qw8Lr5Tn2Vb7Xc9Ms4Hd6Jf1Gp0Ye3Ru8Io5Pa2Sz7Dx4Cv9Bn6Mq1Wl";
}

struct files_world : cli_world {
  void put(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path{repo + "/" + name}.parent_path());
    write_text(repo + "/" + name, text);
  }
  json json_of(std::vector<std::string> args) const {
    args.push_back("--json");
    auto x = skep(std::move(args));
    INFO(x.err << x.out);
    CHECK(x.code == 0);
    return x.document();
  }
  /// Nothing below the state directory or in what was printed holds `value`.
  bool hides(const std::string& value, const finished& x) const {
    if ((x.out + x.err).find(value) != std::string::npos) return false;
    if (!std::filesystem::exists(state)) return true;
    for (const auto& e : std::filesystem::recursive_directory_iterator(state)) {
      if (!e.is_regular_file()) continue;
      std::ifstream in{e.path(), std::ios::binary};
      std::string text{std::istreambuf_iterator<char>{in}, {}};
      if (text.find(value) != std::string::npos) return false;
    }
    return true;
  }
};

} // namespace

TEST_CASE_METHOD(files_world,
                 "files list shows what would travel, with sizes, and what would not") {
  put("big.bin", std::string(5000, 'x'));
  put(".env", "A=1\n");
  put("node_modules/m/i.js", "1\n");
  put("notes.tmp", "x\n");
  put("ignored.log", "x\n");
  put(".gitignore", "*.log\n");
  put(".skepignore", "*.tmp\n");
  auto doc = json_of({"files", "list"});
  std::set<std::string> names;
  for (const auto& f : doc["files"])
    names.insert(f["path"].get<std::string>());
  CHECK(names == std::set<std::string>{".gitignore", ".skepignore", "a.txt", "big.bin"});
  CHECK(doc["size_bytes"] == 5000 + 4 + 6 + 6);
  json reasons;
  for (const auto& x : doc["left_out"])
    reasons[x["path"].get<std::string>()] = x["reason"];
  CHECK(reasons[".env"] == "always excluded: .env");
  CHECK(reasons["node_modules/m/i.js"] == "left out by default: node_modules/");
  CHECK(reasons["notes.tmp"] == "left out by .skepignore");
  CHECK(doc["ignored"] == json{"ignored.log"});
  auto largest = json_of({"files", "list", "--largest", "1"});
  REQUIRE(largest["files"].size() == 1);
  CHECK(largest["files"][0]["path"] == "big.bin");
  auto text = skep({"files", "list"});
  CHECK(text.out.find("4.9 KiB  big.bin") != std::string::npos);
  CHECK(skep({"files", "list", "--left-out"}).out.find("ignored by git") != std::string::npos);
}

TEST_CASE_METHOD(files_world, "files why names the line that keeps a file here") {
  put(".gitignore", "\n*.log\n");
  put("sub/.skepignore", "data*\n");
  put("sub/data1", "x\n");
  put("x.log", "x\n");
  put("id_rsa", "x\n");
  put("dist/a.js", "x\n");
  auto why = [&](const std::string& path) { return json_of({"files", "why", path}); };
  CHECK(why("a.txt")["travels"] == true);
  CHECK(why("a.txt")["tracked"] == true);
  CHECK(why("a.txt")["size_bytes"] == 4);
  CHECK(why("x.log")["rule"] == ".gitignore:2: *.log");
  CHECK(why("sub/data1")["rule"] == "sub/.skepignore:1: data*");
  CHECK(why("sub/data1")["reason"] == "left out by .skepignore");
  CHECK(why("id_rsa")["reason"] == "always excluded: id_rsa*");
  CHECK(why("dist/a.js")["reason"] == "left out by default");
  CHECK(why("sub")["reason"] == "a directory of which 1 files travel");
  CHECK(why("a.txt")["exists"] == true);
  CHECK(skep({"files", "why", "../x"}).code == 64);
}

TEST_CASE_METHOD(files_world,
                 "files why names the rule for a path that is not there, or says that none is") {
  put(".gitignore", "\n*.log\nout/\n");
  put("sub/.skepignore", "data*\n");
  auto why = [&](const std::string& path) {
    auto doc = json_of({"files", "why", path});
    CHECK(doc["exists"] == false);
    CHECK(doc["travels"] == false);
    return doc;
  };
  CHECK(why("later/x.log")["rule"] == ".gitignore:2: *.log");
  CHECK(why("later/x.log")["reason"]
        == "it does not exist, and a file of this name would be ignored by git");
  CHECK(why("sub/data7")["rule"] == "sub/.skepignore:1: data*");
  CHECK(why("node_modules/a.js")["rule"] == "default: node_modules/");
  CHECK(why("cfg/.env")["reason"]
        == "it does not exist, and a file of this name would be always excluded: .env");
  for (const char* path : {"out", "out/", "deep/out"}) {
    auto doc = why(path);
    CHECK(doc["rule"] == ".gitignore:3: out/");
    CHECK(doc["reason"]
          == "it does not exist, and a directory of this name would be ignored by git");
  }
  for (const char* path : {"missing", "missing/", "sub/other"}) {
    auto x = skep({"files", "why", path});
    CHECK(x.code == 66);
    CHECK(x.err.find("no rule would leave out a file of this name") != std::string::npos);
  }
}

TEST_CASE_METHOD(files_world,
                 "files rules prints what is never uploaded and every rule of the scan") {
  auto doc = json_of({"files", "rules"});
  std::set<std::string> never;
  for (const auto& p : doc["always_excluded"])
    never.insert(p.get<std::string>());
  for (const char* p : {".env", ".env.*", "*.pem", ".npmrc", ".netrc", ".pypirc",
                        ".git-credentials", ".docker/config.json", ".kube/config", "*.jks",
                        "*.keystore", ".ssh/**", ".gnupg/**", "id_rsa*", ".skep-download-*"})
    CHECK(never.count(p) == 1);
  std::size_t shaped = 0;
  for (const auto& r : doc["scan_rules"])
    if (r["kind"] != "word") ++shaped;
  CHECK(shaped >= 40);
  CHECK(doc["scan_rules"].size() - shaped == 14);
  CHECK(skep({"files", "rules"}).out.find("github_token") != std::string::npos);
}

TEST_CASE_METHOD(files_world,
                 "a credential in the work tree blocks the run before a daemon is asked") {
  auto value = value_of_github();
  put("src/settings.py", "import os\nTOKEN = '" + value + "'\n");
  auto x = run({"--json", "--", "true"});
  CHECK(x.code == 82);
  auto lines = x.lines();
  REQUIRE(lines.size() == 2);
  auto scan = json::parse(lines[0])["scan"];
  CHECK(scan["high"] == 1);
  CHECK(scan["findings"][0]["path"] == "src/settings.py");
  CHECK(scan["findings"][0]["line"] == 2);
  CHECK(scan["findings"][0]["rule"] == "github_fine_token");
  auto why = json::parse(lines[1])["error"];
  CHECK(why["code"] == "credentials_found");
  CHECK(why["step"] == "scan");
  CHECK(why["hint"].get<std::string>().find(".skep-scan-allow") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(state + "/skep.db")); // no daemon was started
  // Word is left for the audit log, without the value.
  std::string word;
  for (const auto& e : std::filesystem::directory_iterator{state + "/audit-spool"}) {
    std::ifstream in{e.path()};
    std::getline(in, word);
  }
  CHECK(word.find("SCAN_BLOCKED") != std::string::npos);
  CHECK(word.find("src/settings.py:2 github_fine_token") != std::string::npos);
  CHECK(hides(value, x));
  auto text = run({"--", "true"});
  CHECK(text.code == 82);
  CHECK(text.err.find("src/settings.py:2") != std::string::npos);
  CHECK(hides(value, text));
}

TEST_CASE_METHOD(files_world, "where nobody can be asked, prompt is block") {
  put("x", value_of_github() + "\n");
  CHECK(run({"--scan", "prompt", "--", "true"}).code == 82);
  CHECK(run({"--scan", "perhaps", "--", "true"}).code == 64);
}

TEST_CASE_METHOD(files_world, "the policy of skep.toml holds, and its mistakes are named") {
  put("x", value_of_github() + "\n");
  std::filesystem::create_directories(state);
  write_text(state + "/skep.toml", "[scan]\npolicy = \"warn\"\n");
  auto plan = run({"--dry-run", "--json", "--", "true"});
  CHECK(plan.code == 0);
  CHECK(plan.document()["dry_run"]["policy"] == "warn");
  write_text(state + "/skep.toml", "[scan]\npolicy = \"never\"\n");
  auto bad = run({"--dry-run", "--", "true"});
  CHECK(bad.code == 78);
  CHECK(bad.err.find("skep.toml:2") != std::string::npos);
}

TEST_CASE_METHOD(files_world,
                 "a compression or a level that there is none ends the start of a daemon, and "
                 "nothing is made") {
  put("x", "text\n");
  std::filesystem::create_directories(state);
  struct mistake {
    const char *lines, *says;
  };
  for (const auto& m :
       {mistake{"compression = \"xz\"", "zstd or gzip"}, mistake{"level = 20", "1 to 19 with zstd"},
        mistake{"level = 0", "1 to 19"},
        mistake{"compression = \"gzip\"\nlevel = 10", "1 to 9 with gzip"},
        mistake{"level = \"best\"", "1 to 19"}, mistake{"keep_mib = -1", "0 to 1000000"},
        mistake{"speed = 1", "unknown key 'speed'"}}) {
    INFO(m.lines);
    write_text(state + "/skep.toml", std::string{"[upload]\n"} + m.lines + "\n");
    auto bad = run({"--", "true"});
    CHECK(bad.code == 78);
    CHECK(bad.err.find("skep.toml:") != std::string::npos);
    CHECK(bad.err.find(m.says) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(state + "/skep.db"));
  }
  for (const char* good : {"level = 6", "compression = \"gzip\"\nlevel = 6", "keep_mib = 0"}) {
    write_text(state + "/skep.toml", std::string{"[upload]\n"} + good + "\n");
    CHECK(run({"--dry-run", "--", "true"}).code == 0);
  }
}

TEST_CASE_METHOD(files_world,
                 "an allowed finding lets the run pass; an allow-list with a mistake does not") {
  put("tests/x", value_of_github() + "\n");
  put(".skep-scan-allow", "tests/*  github_fine_token  # made up for a test\n");
  auto plan = run({"--dry-run", "--json", "--", "true"});
  CHECK(plan.code == 0);
  CHECK(plan.document()["dry_run"]["scan"]["allowed"] == 1);
  put(".skep-scan-allow", "tests/*  github_fine_token\n");
  auto refused = [&](const finished& x) {
    INFO(x.out << x.err);
    CHECK(x.code == 78);
    auto told = x.document()["error"];
    CHECK(told["code"] == "bad_allow_file");
    CHECK(told["message"].get<std::string>().starts_with(".skep-scan-allow:1: "));
  };
  refused(run({"--dry-run", "--json", "--", "true"}));
  refused(run({"--json", "--", "true"}));
  refused(skep({"files", "why", "tests/x", "--json"}));
  CHECK_FALSE(std::filesystem::exists(state));
  // A scan that may be left out is not refused for its list.
  auto warned = run({"--scan", "warn", "--dry-run", "--json", "--", "true"});
  CHECK(warned.code == 0);
  CHECK(warned.document()["dry_run"]["scan"]["problem"].get<std::string>().starts_with(
      ".skep-scan-allow:1: "));
}

TEST_CASE_METHOD(files_world, "an allow-list that allows everything is warned of") {
  auto told = [&] {
    auto x = run({"--dry-run", "--", "true"});
    INFO(x.err);
    CHECK(x.code == 0);
    return x.err.find("WARNING: a line of .skep-scan-allow allows everything") != x.err.npos;
  };
  put("tests/x", value_of_github() + "\n");
  put(".skep-scan-allow", "tests/*  *  # made up for a test\n");
  CHECK_FALSE(told());
  put(".skep-scan-allow", "*  *  # fixtures\n");
  CHECK(told());
}

TEST_CASE_METHOD(
    files_world,
    "a dry run shows files, findings, cost and the limits it would meet, and makes nothing") {
  put(".env", "x\n");
  std::filesystem::create_directories(state);
  write_text(state + "/skep.toml",
             "[local]\nusd_per_hour = 0.5\nmax_active = 3\n[budget]\nday_usd = 1\n");
  auto x = run({"--dry-run", "--json", "--sandboxes", "4", "--limit", "2h", "--", "true"});
  INFO(x.err);
  CHECK(x.code == 0);
  auto plan = x.document()["dry_run"];
  CHECK(plan["would_start"] == true);
  CHECK(plan["upload"]["files"].size() == 1);
  CHECK(plan["upload"]["left_out"][0]["path"] == ".env");
  CHECK(plan["time_limit_ms"] == 7'200'000);
  CHECK(plan["usd_per_hour"] == 0.5);
  CHECK(plan["time_usd_at_most"] == 4.0);
  CHECK(plan["counts_known"] == false);
  std::map<std::string, json> limits;
  for (const auto& l : plan["limits"])
    limits[l["rule"].get<std::string>()] = l;
  CHECK(limits.at("max_active")["limit"] == 3);
  CHECK(limits.at("max_active")["asked"] == 4);
  CHECK(limits.at("day budget")["limit"] == 1);
  // Neither a daemon, nor a database, nor results.
  std::set<std::string> left;
  for (const auto& e : std::filesystem::directory_iterator{state})
    left.insert(e.path().filename().string());
  CHECK(left == std::set<std::string>{"skep.toml"});
  CHECK_FALSE(std::filesystem::exists(repo + "/skep-out"));
  auto text = run({"--dry-run", "--sandboxes", "4", "--", "true"});
  CHECK(text.out.find("Nothing was made") != std::string::npos);
  CHECK(text.out.find("max_active") != std::string::npos);
  CHECK(text.out.find("at most $2.00 for 4 sandboxes at $0.50/h, for the time up to the limit; "
                      "collecting, kept sandboxes and successors come on top")
        != std::string::npos);
}

TEST_CASE_METHOD(files_world, "a dry run that would be refused says why and ends with that code") {
  put("x", value_of_github() + "\n");
  auto x = run({"--dry-run", "--json", "--", "true"});
  CHECK(x.code == 82);
  auto plan = x.document()["dry_run"];
  CHECK(plan["would_start"] == false);
  CHECK(plan["problems"].size() == 1);
  CHECK(plan["scan"]["findings"][0]["path"] == "x");
  CHECK_FALSE(std::filesystem::exists(state));
}

TEST_CASE_METHOD(files_world,
                 "a dry run says how many files it does not show, and which command shows them") {
  for (int i = 0; i < 7; ++i)
    put("src/" + std::to_string(i) + ".txt", std::string(static_cast<std::size_t>(100 + i), 'x'));
  auto few = run({"--dry-run", "--", "true"});
  CHECK(few.out.find("LEFT OUT") == std::string::npos);
  for (int i = 0; i < 23; ++i)
    put("keys/" + std::to_string(i) + ".pem", "x\n");
  auto text = run({"--dry-run", "--", "true"}).out; // of 8 files and 23 that never travel
  CHECK(text.find("and 3 more: skep files list --repo " + repo) != std::string::npos);
  CHECK(text.find("and 3 more: skep files list --left-out --repo " + repo) != std::string::npos);
  CHECK(text.find("src/6.txt") != std::string::npos);
  CHECK(text.find("src/0.txt") == std::string::npos);
  auto all = skep({"files", "list", "--left-out", "--repo", repo}).out;
  for (int i = 0; i < 23; ++i)
    CHECK(all.find("keys/" + std::to_string(i) + ".pem") != std::string::npos);
  // What nothing was cut from names no command.
  std::filesystem::remove_all(repo + "/src");
  std::filesystem::remove_all(repo + "/keys");
  CHECK(run({"--dry-run", "--", "true"}).out.find(" more: ") == std::string::npos);
}

TEST_CASE_METHOD(files_world,
                 "a dry run says how long the upload may take by those that were measured, and "
                 "makes nothing up where none was") {
  namespace past = skep::storage::testing;
  put("big.bin", std::string(6u << 20, 'x')); // with the 4 bytes of a.txt
  auto plan = [this] {
    auto x = run({"--dry-run", "--json", "--", "true"});
    INFO(x.out << x.err);
    CHECK(x.code == 0);
    auto doc = x.document();
    CHECK(mismatch(all_schemas().at("dry-run"), doc) == "");
    return doc["dry_run"];
  };
  auto none = plan();
  CHECK(none["upload_ms_estimated"].is_null());
  CHECK(none["upload_bytes_per_s"].is_null());
  CHECK(none["uploads_measured"] == 0);
  CHECK(run({"--dry-run", "--", "true"}).out.find("no upload to local was measured yet")
        != std::string::npos);
  // What a daemon that has ended left of a run: 4 MiB in 2 s.
  std::filesystem::create_directories(state);
  {
    auto j = past::open_journal(state + "/skep.db");
    auto w = past::swarm_no(1);
    auto s = past::sandbox_no(1);
    constexpr std::uint64_t size = 4 << 20;
    REQUIRE(past::put(j, w, {}, 1000, past::a_swarm()) == errc::none);
    REQUIRE(past::put(j, w, s, 1000, sandbox_queued{0, "local"}) == errc::none);
    REQUIRE(past::put(j, w, s, 1000,
                      transfer_intended{{"tr_1"}, transfer_direction::upload, {}, 1, size})
            == errc::none);
    REQUIRE(past::put(j, w, s, 3000, transfer_done{{"tr_1"}, 1, size, "aa"}) == errc::none);
  }
  auto known = plan();
  CHECK(known["upload"]["size_bytes"] == (6 << 20) + 4);
  CHECK(known["uploads_measured"] == 1);
  CHECK(known["upload_bytes_per_s"] == (2 << 20));
  CHECK(known["upload_ms_estimated"] == 3001); // rounded up
  auto text = run({"--dry-run", "--", "true"}).out;
  CHECK(text.find("about 3 s to each sandbox, by the last upload to local: 2.0 MiB/s before "
                  "compression")
        != std::string::npos);
  CHECK(text.find("was measured yet") == std::string::npos);
  std::filesystem::remove(repo + "/big.bin");
  CHECK(run({"--dry-run", "--", "true"}).out.find("less than 1 s to each sandbox")
        != std::string::npos);
}

TEST_CASE_METHOD(files_world,
                 "a dry run that does not queue is refused beyond a limit, also without a daemon, "
                 "and not by the limit that passes") {
  std::filesystem::create_directories(state);
  write_text(state + "/skep.toml", "[local]\nmax_active = 3\nmax_starting = 1\n");
  auto plan = [&](const std::string& sandboxes, int code, bool queue = false) {
    auto x = run({"--dry-run", "--json", queue ? "--keep" : "--no-queue", "--sandboxes", sandboxes,
                  "--", "true"});
    INFO(x.out << x.err);
    CHECK(x.code == code);
    return x.document()["dry_run"];
  };
  auto fits = plan("3", 0);
  CHECK(fits["would_start"] == true);
  REQUIRE(fits["limits"].size() == 1);
  CHECK(fits["limits"][0]["rule"] == "max_starting");
  CHECK(fits["limits"][0]["effect"] == "the others start as these get going");
  auto refused = plan("4", 75);
  CHECK(refused["would_start"] == false);
  REQUIRE(refused["problems"].size() == 1);
  auto why = refused["problems"][0].get<std::string>();
  CHECK(why.starts_with("quota: "));
  CHECK(why.find("3 of 3 (max_active)") != std::string::npos);
  CHECK(why.find("local.max_active") != std::string::npos);
  CHECK(refused["limits"][0]["effect"] == "the run is refused (--no-queue)");
  // Four that stay can never be there at once, whoever waits.
  auto kept = plan("4", 64, true);
  CHECK(kept["problems"][0].get<std::string>().starts_with("never_fits: "));
  std::set<std::string> left;
  for (const auto& e : std::filesystem::directory_iterator{state})
    left.insert(e.path().filename().string());
  CHECK(left == std::set<std::string>{"skep.toml"});
}

TEST_CASE_METHOD(files_world,
                 "a dry run is refused for a budget without room and for a cap without a price, "
                 "with the exit codes of the run") {
  std::filesystem::create_directories(state);
  write_text(state + "/skep.toml", "[budget]\nday_usd = 0\n");
  auto x = run({"--dry-run", "--json", "--", "true"});
  CHECK(x.code == 80);
  auto plan = x.document()["dry_run"];
  CHECK(plan["would_start"] == false);
  CHECK(plan["problems"][0].get<std::string>().starts_with("budget_spent: "));
  REQUIRE(plan["limits"].size() == 1);
  CHECK(plan["limits"][0]["rule"] == "day budget");
  CHECK(plan["limits"][0]["effect"] == "the run is refused");
  CHECK(run({"--dry-run", "--", "true"}).out.find("The run would be refused") != std::string::npos);

  write_text(state + "/skep.toml",
             "[providers.cloud]\napi_url = \"http://127.0.0.1:1\"\nkey = \"CLOUD_KEY\"\n");
  for (const char* name : {"CLOUD_KEY", "ANTHROPIC_API_KEY"})
    REQUIRE(skep({"secret", "set", name}, "v").code == 0);
  auto capped = [&](std::vector<std::string> more) {
    std::vector<std::string> args{"--dry-run", "--json", "--provider", "cloud",
                                  "--agent",   "claude", "--prompt",   "work"};
    args.insert(args.end(), more.begin(), more.end());
    return run(std::move(args));
  };
  auto uncapped = capped({});
  INFO(uncapped.out << uncapped.err);
  CHECK(uncapped.code == 0);
  auto unpriced = capped({"--budget", "5usd"});
  CHECK(unpriced.code == 64);
  CHECK(unpriced.document()["dry_run"]["problems"][0].get<std::string>().starts_with(
      "price_unknown: "));
}

TEST_CASE_METHOD(
    files_world,
    "submodules, pointers of Git LFS and a huge upload are told before anything travels") {
  auto commit = [&](const std::string& place) {
    git({"-C", place, "add", "-A"});
    git({"-C", place, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m",
         "more"});
  };
  auto other = dir.path + "/other";
  std::filesystem::create_directories(other);
  git({"-C", other, "init", "-q", "-b", "main"});
  write_text(other + "/inside.txt", "of another repository\n");
  commit(other);
  git({"-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other, "module"});
  put("kept/here.txt", "x\n");
  put("absent/one.txt", "x\n");
  put("absent/two.txt", "x\n");
  put("pipe", "a file first\n");
  commit(repo);
  git({"sparse-checkout", "set", "kept"});
  git({"clone", "-q", other, repo + "/nested"});
  std::filesystem::remove(repo + "/pipe");
  REQUIRE(::mkfifo((repo + "/pipe").c_str(), 0600) == 0);
  put("lfs.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a')
                     + "\nsize 12345\n");
  std::ofstream{repo + "/huge", std::ios::binary}.flush();
  std::filesystem::resize_file(repo + "/huge", 1100ull << 20);
  auto x = run({"--dry-run", "--json", "--", "true"});
  CHECK(x.code == 0);
  auto plan = x.document()["dry_run"];
  INFO(x.out << x.err);
  std::set<std::string> told;
  for (const auto& remark : plan["remarks"])
    told.insert(remark.get<std::string>());
  CHECK(told.contains("1 submodule is not uploaded: module"));
  CHECK(told.contains("1 repository inside this one is not uploaded: nested/"));
  CHECK(told.contains("2 files of HEAD are not in this sparse checkout and not uploaded: "
                      "absent/one.txt, absent/two.txt"));
  CHECK(told.contains("1 pipe, socket or device is not uploaded: pipe"));
  CHECK(told.contains("1 file is a Git LFS pointer, uploaded as it is (git lfs pull fetches its "
                      "content): lfs.bin"));
  CHECK(std::any_of(told.begin(), told.end(), [](const auto& remark) {
    return remark.find("1.1 GiB are uploaded to the sandbox: ") != remark.npos;
  }));
  // What is told does not travel.
  auto list = json_of({"files", "list"});
  std::set<std::string> names;
  for (const auto& f : list["files"])
    names.insert(f["path"].get<std::string>());
  CHECK(names == std::set<std::string>{".gitmodules", "a.txt", "huge", "kept/here.txt", "lfs.bin"});
  CHECK(json_of({"files", "why", "pipe"})["reason"] == "a pipe");
  // Git does not list one that it does not track; asked for, it has its reason too.
  REQUIRE(::mkfifo((repo + "/untracked").c_str(), 0600) == 0);
  CHECK(json_of({"files", "why", "untracked"})["reason"] == "a pipe");
}
