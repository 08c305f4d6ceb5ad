// Scripts of TRANSFERs: uploads and downloads that fail, hang, die, and what they leave.
#include "tests/actors/transfer_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

result<command_result> refused(const sandbox::command&) {
  return said("{\"error\":\"x\",\"message\":\"no\"}\n", 1);
}

} // namespace

TEST_CASE_METHOD(transfer_world,
                 "an upload that fails at any step says which, and leaves nothing") {
  auto step = GENERATE(as<std::string>{}, "upload", "unpack", "base", "worktree", "verify");
  if (step == "upload")
    for (std::uint32_t i = 0; i < svc->limits.upload_tries; ++i)
      api->fail(operation::upload_file, make_error(errc::network));
  else if (step == "verify")
    guest["unpack"] = [](const sandbox::command&) -> result<command_result> {
      return said("{\"files\":2,\"size_bytes\":300,\"manifest_sha256\":\"cafe\"}\n");
    };
  else
    guest[step] = refused;
  begin();
  if (step == "upload") advance(15s); // 1 + 2 + 4 + 8
  const std::string code = step == "upload"   ? "network"
                           : step == "verify" ? "verification"
                                              : "remote_command_failed";
  CHECK(ending() == "failed " + code + "@" + step);
  REQUIRE(all<transfer_failed>().size() == 1);
  CHECK(all<transfer_failed>()[0].why.step == step);
  CHECK(all<transfer_failed>()[0].why.sandbox == ctx->sandbox);
  CHECK(cleaned(all<transfer_intended>().at(0).transfer));
  CHECK(left_here() == 0);
  CHECK(api->boxes.empty());
  CHECK(guest_calls("pane") == 0);
}

TEST_CASE_METHOD(transfer_world, "an upload that hangs fails at its deadline, not later") {
  svc->limits.upload_deadline = 60s;
  api->hold(operation::upload_file);
  begin();
  advance(59s);
  CHECK(count("transfer.failed") == 0);
  CHECK(api->boxes.size() == 1);
  advance(2s);
  CHECK(ending() == "failed timed_out@upload");
  CHECK(all<transfer_failed>().at(0).why.code == errc::timed_out);
  CHECK(cleaned(all<transfer_intended>().at(0).transfer));
  CHECK(api->boxes.empty());
  api->release(operation::upload_file); // its call was cancelled: nobody hears this
  advance(1s);
  CHECK(count("sandbox.closed") == 1);
}

TEST_CASE_METHOD(transfer_world,
                 "what comes in the last moment before a deadline counts, and in the "
                 "first one after it changes nothing") {
  svc->limits.upload_deadline = 60s;
  api->hold(operation::upload_file);
  begin();
  SECTION("before") {
    advance(59s + 990ms);
    CHECK(count("transfer.failed") == 0);
    api->release(operation::upload_file);
    settle();
    CHECK(phases().back() == "running");
    advance(1min); // the deadline passes: nobody minds any more
    CHECK(count("transfer.failed") == 0);
    CHECK(phases().back() == "running");
    exit("pn_0");
    CHECK(ending() == "completed");
  }
  SECTION("after") {
    advance(60s + 10ms);
    CHECK(ending() == "failed timed_out@upload");
    auto before = events();
    api->release(operation::upload_file);
    advance(1min);
    CHECK(events() == before);
    CHECK(guest_calls("unpack") == 0);
  }
}

TEST_CASE_METHOD(transfer_world, "an upload whose actor dies is a failed upload, not a hang") {
  guest["unpack"] = [](const sandbox::command&) -> result<command_result> {
    throw std::runtime_error("a bug");
  };
  begin();
  CHECK(ending() == "failed internal@upload");
  CHECK(all<sandbox_closed>().at(0).why.message.find("died: internal: a bug") != std::string::npos);
  CHECK(count("transfer.failed") == 1);
  CHECK(cleaned(all<transfer_intended>().at(0).transfer));
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(transfer_world, "a stop ends an upload at once, and it says so") {
  api->hold(operation::upload_file);
  begin();
  stop(stop_mode::graceful);
  CHECK(ending() == "cancelled");
  CHECK(all<transfer_failed>().at(0).why.code == errc::cancelled);
  CHECK(cleaned(all<transfer_intended>().at(0).transfer));
  CHECK(api->boxes.empty());
  CHECK(guest_calls("pane") == 0);
}

TEST_CASE_METHOD(transfer_world, "transfers that end well leave nothing here and nothing inside") {
  spec->keep = true;
  panes(2);
  begin();
  CHECK(left_inside("i100000").empty());
  exit("pn_0");
  exit("pn_1");
  CHECK(ending() == "completed");
  CHECK(count("transfer.done") == 3);
  CHECK(up.stored == 1); // of the last one the swarm hears by the end
  CHECK(left_inside("i100000").empty());
  CHECK(left_here() == 0);
  CHECK(count("clean_up_failed") == 0);
}

TEST_CASE_METHOD(transfer_world, "what cannot be removed inside is a warning and no failure") {
  guest["worktree"] = [this](const sandbox::command&) -> result<command_result> {
    api->fail(operation::remove, make_error(errc::network));
    return said("{}\n");
  };
  begin();
  CHECK(count("clean_up_failed") == 1);
  CHECK(count("transfer.done") == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(transfer_world,
                 "the download of one pane may fail, whatever the way; the others come") {
  int which = GENERATE(0, 1, 2);
  auto [how, expected] =
      GENERATE(table<std::string, std::string>({{"refused", "failed remote_command_failed@diff"},
                                                {"cut", "failed network@download"},
                                                {"damaged", "failed checksum@unpack"},
                                                {"dies", "failed internal@download"},
                                                {"hangs", "failed timed_out@download"}}));
  INFO(how << " " << which);
  if (how == "hangs") svc->limits.download_deadline = 20s;
  panes(3);
  auto usual = api->on_run;
  auto where = sandbox::remote{"i100000", "token-i100000", ""};
  at_call("diff", which, [&, way = how](const sandbox::command& c) -> result<command_result> {
    if (way == "refused") return refused(c);
    if (way == "dies") throw std::runtime_error("a bug");
    auto out = usual(where, c);
    if (way == "hangs") api->hold(operation::download_file);
    if (way == "damaged")
      for (auto& [path, content] : api->boxes.at("i100000").files)
        if (path.ends_with(".patch") || path.ends_with(".tar")) content += "x";
    return out;
  });
  auto its_patch = "/p" + std::to_string(which) + ".patch";
  api->turn_down = [&, way = how](operation op, const std::string& what) -> error {
    if (way != "cut" || op != operation::download_file || !what.ends_with(its_patch)) return {};
    return make_error(errc::network);
  };
  begin();
  for (int i = 0; i < 3; ++i)
    exit("pn_" + std::to_string(i));
  if (how == "cut") {
    advance(126s); // 1 + 2 + 4 + 8 + 16 + 32 + 64
    CHECK(count("transfer.failed") == 0);
    advance(2s);
    CHECK(asked_for(its_patch) == svc->limits.download_tries);
    CHECK(all<transfer_failed>().at(0).why.message.find("after 8 attempts") != std::string::npos);
  }
  if (how == "hangs") {
    advance(19s);
    CHECK(count("transfer.failed") == 0);
    advance(1s);
    api->release(operation::download_file); // for the others
    advance(1s);
  }
  CHECK(ending() == expected);
  CHECK(count("transfer.done") == 1 + 2);
  REQUIRE(all<transfer_failed>().size() == 1);
  for (int i = 0; i < 3; ++i)
    CHECK(has_patch("p" + std::to_string(i)) == (i != which));
  for (const auto& t : all<transfer_intended>())
    CHECK(cleaned(t.transfer));
  CHECK(left_here() == 0);
  // What it did is nowhere else.
  CHECK(kept());
  CHECK(api->boxes.size() == 1);
  CHECK(told_of_left().find("what p" + std::to_string(which) + " did") != std::string::npos);
}

TEST_CASE_METHOD(transfer_world, "a connection that is cut while results come back costs the step "
                                 "that was under way, and nothing that agents did") {
  std::string cut = GENERATE(as<std::string>{}, "out", "diff", "p0.patch", "p0.tar");
  INFO(cut);
  auto times = GENERATE(1, 3);
  auto down = [&, left = times](operation op, const std::string& what) mutable -> error {
    auto hit = cut == "out"    ? op == operation::remove && what.ends_with("/.skep/out")
               : cut == "diff" ? op == operation::run && what.find(" diff ") != std::string::npos
                               : op == operation::download_file && what.ends_with("/" + cut);
    return hit && left-- > 0 ? make_error(errc::network) : error{};
  };
  begin();
  api->turn_down = down;
  exit("pn_0");
  CHECK(count("sandbox.closed") == 0);
  advance(times == 1 ? 1s : 7s); // 1 + 2 + 4
  CHECK(ending() == "completed");
  CHECK(count("transfer.failed") == 0);
  CHECK(count("transfer.done") == 2);
  CHECK(has_patch("p0"));
  auto asked = static_cast<std::size_t>(times) + 1;
  CHECK(guest_calls("diff") == (cut == "diff" ? asked : 1));
  CHECK(asked_for("/p0.patch") == (cut == "p0.patch" ? asked : 1));
  CHECK(asked_for("/p0.tar") == (cut == "p0.tar" ? asked : 1));
  CHECK(left_here() == 0);
}

TEST_CASE_METHOD(transfer_world, "a difference that is made again has a folder of its own: the "
                                 "first one may still be writing") {
  strings folders;
  auto usual = api->on_run;
  api->on_run = [&, usual](const sandbox::remote& r,
                           const sandbox::command& c) -> result<command_result> {
    if (c.argv.size() < 2 || c.argv[1] != "diff") return usual(r, c);
    folders.push_back(*(std::find(c.argv.begin(), c.argv.end(), "--out") + 1));
    auto out = usual(r, c);
    if (folders.size() > 1) return out;
    return make_error(errc::network); // its answer is lost
  };
  begin();
  exit("pn_0");
  advance(1s);
  CHECK(ending() == "completed");
  REQUIRE(folders.size() == 2);
  CHECK(folders[0] != folders[1]);
  for (const auto& c : api->calls)
    if (c.op == operation::download_file) CHECK(c.what.starts_with(folders[1] + "/"));
}

TEST_CASE_METHOD(transfer_world,
                 "results are not asked for again where that is of no use, or past their time") {
  error why = make_error(errc::network);
  std::string code = "network";
  std::size_t asked = 5;
  SECTION("the next wait would end after the whole download's time") {
    svc->limits.download_deadline = 20s;
  }
  SECTION("the sandbox is gone") {
    why = make_error(errc::gone);
    code = "gone";
    asked = 1;
  }
  SECTION("the provider refuses") {
    why = make_error(errc::refused);
    code = "refused";
    asked = 1;
  }
  api->turn_down = [&](operation op, const std::string&) {
    return op == operation::download_file ? why : error{};
  };
  begin();
  exit("pn_0");
  if (asked == 5) advance(15s); // 1 + 2 + 4 + 8
  CHECK(ending() == "failed " + code + "@download");
  CHECK(api->count(operation::download_file) == asked);
  CHECK(kept() == (code != "gone"));
  CHECK(api->boxes.size() == (code == "gone" ? 0 : 1));
}

TEST_CASE_METHOD(transfer_world,
                 "a slow line has the whole download's time for its results, file by file") {
  svc->limits.download_deadline = 1000s;
  api->hold(operation::download_file);
  begin();
  exit("pn_0");
  REQUIRE(api->download_deadlines == std::vector<std::chrono::milliseconds>{1000s});
  advance(400s);
  api->release(operation::download_file);
  api->hold(operation::download_file);
  settle();
  REQUIRE(api->download_deadlines.size() == 2);
  CHECK(api->download_deadlines[1] == 600s);
  advance(400s);
  api->release(operation::download_file);
  CHECK(ending() == "completed");
  CHECK(has_patch("p0"));
}

TEST_CASE_METHOD(transfer_world,
                 "a machine that sleeps during a download takes none of the download's time") {
  auto slept = std::make_shared<std::chrono::milliseconds>(0);
  svc->boot_now = [this, slept] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(v.now()) + *slept;
  };
  svc->limits.download_deadline = 1000s;
  api->hold(operation::download_file);
  begin();
  exit("pn_0");
  REQUIRE(api->download_deadlines == std::vector<std::chrono::milliseconds>{1000s});
  advance(100s);
  *slept = 20min; // longer than all of it
  api->release(operation::download_file);
  settle();
  REQUIRE(api->download_deadlines.size() == 2);
  CHECK(api->download_deadlines[1] == 900s);
  CHECK(ending() == "completed");
  CHECK(has_patch("p0"));
}

TEST_CASE_METHOD(transfer_world,
                 "an answer from inside that is nested without end is no answer, and nobody dies") {
  guest["diff"] = [](const sandbox::command&) -> result<command_result> {
    constexpr std::size_t deep = 400'000;
    return said("{\"commits\":" + std::string(deep, '[') + std::string(deep, ']') + "}\n");
  };
  begin();
  exit("pn_0");
  CHECK(ending() == "failed protocol@diff");
  CHECK(kept());
}

TEST_CASE_METHOD(transfer_world, "a kill ends a download at once") {
  api->hold(operation::download_file);
  begin();
  exit("pn_0");
  CHECK(phases().back() == "collecting");
  stop(stop_mode::kill);
  CHECK(ending() == "killed");
  CHECK(all<transfer_failed>().at(0).why.code == errc::cancelled);
  CHECK(left_here() == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(transfer_world,
                 "the leftovers of a daemon that was killed are gone with the next transfer") {
  recorded(phase::collecting);
  start.panes[0].state = pane_phase::closed;
  start.panes[0].result = outcome::completed;
  spec->keep = true;
  auto old = svc->state_dir / "work" / "sw_a" / "sb_a" / "tr_old";
  std::filesystem::create_directories(old);
  std::ofstream{old / "p0.tar"} << "half";
  api->boxes["i1"].files["/home/user/.skep/out/tr_old/p0.tar"] = "half";
  // It died between a pane's results and the word of them.
  auto results = tmp.path / "out" / "sw_a";
  std::filesystem::create_directories(results / "p0" / "files");
  std::ofstream{results / "p0.patch"} << "half";
  std::ofstream{results / "p0" / "files" / "x"} << "half";
  begin();
  advance(1s);
  CHECK(all<sandbox_closed>().at(0).result == outcome::completed);
  CHECK(left_here() == 0);
  CHECK(left_inside("i1").empty());
}
