// Scripts of TRANSFERs: uploads and downloads that fail, hang, die, and what they leave.
#include "actors/chunk_builder.hpp"
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// Until a note that nobody waits for is in the journal.
const caf::timespan notes_linger = actors::chunk_limits{}.linger;

struct transfer_world : sandbox_world {
  /// What transfers of this sandbox left on this machine.
  std::size_t left_here() const {
    std::error_code ec;
    std::filesystem::directory_iterator all{svc->state_dir / "work" / "sw_a" / "sb_a", ec};
    return ec ? 0
              : static_cast<std::size_t>(
                  std::distance(std::filesystem::begin(all), std::filesystem::end(all)));
  }
  /// What they left inside.
  strings left_inside(const std::string& box) const {
    strings out;
    for (const auto& [path, content] : api->boxes.at(box).files)
      if (path.find("/.skep/in/tr_") != std::string::npos
          || path.find("/.skep/out/") != std::string::npos)
        out.push_back(path);
    return out;
  }
  /// The folder of this transfer inside was removed.
  bool cleaned(const transfer_id& id) const {
    auto is = [&](const fake_api::record& c) {
      return c.op == operation::remove && c.what.ends_with("/" + id.value);
    };
    return std::any_of(api->calls.begin(), api->calls.end(), is);
  }
  /// The n-th call of skep-guest with this word does `what` instead.
  void at_call(const std::string& word, int n,
               std::function<result<command_result>(const sandbox::command&)> what) {
    auto calls = std::make_shared<int>(0);
    auto where = api->on_run;
    api->on_run = [=, this](const sandbox::remote& r, const sandbox::command& c) {
      if (c.argv[0] == ctx->guest_path() && c.argv.at(1) == word && (*calls)++ == n) return what(c);
      return where(r, c);
    };
  }
  /// Downloads of this file that were begun.
  std::size_t asked_for(const std::string& ending) const {
    auto is = [&](const fake_api::record& c) {
      return c.op == operation::download_file && c.what.ends_with(ending);
    };
    return static_cast<std::size_t>(std::count_if(api->calls.begin(), api->calls.end(), is));
  }
  bool has_patch(const std::string& pane) const {
    return std::filesystem::exists(tmp.path / "out" / "sw_a" / (pane + ".patch"));
  }
};

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
  CHECK(api->boxes.empty());
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
  CHECK(api->boxes.empty());
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
                 "an answer from inside that is nested without end is no answer, and nobody dies") {
  guest["diff"] = [](const sandbox::command&) -> result<command_result> {
    constexpr std::size_t deep = 400'000;
    return said("{\"commits\":" + std::string(deep, '[') + std::string(deep, ']') + "}\n");
  };
  begin();
  exit("pn_0");
  CHECK(ending() == "failed protocol@diff");
  CHECK(api->boxes.empty());
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

namespace {

/// An archive of 10 bytes in 4 parts.
struct parts_world : transfer_world {
  parts_world() {
    auto bundle = std::make_shared<upload_bundle>(*start.bundle);
    bundle->archive_parts = transfer::parts_of(bundle->archive.string(), 3).value();
    start.bundle = bundle;
  }
  static constexpr const char* folder = "/home/user/.skep/in/worktree/";
  /// The parts that were sent, in order, whatever came of it.
  strings sent() const {
    strings out;
    for (const auto& c : api->calls)
      if (c.op == operation::upload_file) out.push_back(c.what.substr(c.what.rfind('.') + 1));
    return out;
  }
};

} // namespace

TEST_CASE_METHOD(parts_world,
                 "an archive of several parts is sent part by part, and unpacked in their order") {
  strings words;
  guest["unpack"] = [&](const sandbox::command& c) -> result<command_result> {
    words = c.argv;
    std::string all;
    for (std::size_t i = 0; i + 1 < c.argv.size(); ++i)
      if (c.argv[i] == "--archive") all += api->boxes.begin()->second.files.at(c.argv[i + 1]);
    CHECK(all == "an archive");
    return said("{\"files\":3,\"size_bytes\":300,\"manifest_sha256\":\"cafe\"}\n");
  };
  begin();
  CHECK(sent() == strings{"00001", "00002", "00003", "00004"});
  CHECK(std::count(words.begin(), words.end(), "--archive") == 4);
  auto told = all<transfer_progress>();
  REQUIRE(told.size() == 5);
  CHECK(told.front().parts_done == 0);
  CHECK(told.front().sent_bytes == 0);
  CHECK(told.back().parts_done == 4);
  CHECK(told.back().done_bytes == 10);
  CHECK(told.at(2).parts_done == 2);
  CHECK(told.at(2).done_bytes == 6);
  CHECK(told.at(2).size_bytes == 10);
  CHECK(phases().back() == "running");
  for (const auto& [path, content] : api->boxes.begin()->second.files)
    CHECK_FALSE(path.starts_with(folder)); // nothing stays (row S1-11)
}

TEST_CASE_METHOD(transfer_world,
                 "an upload in one piece tells its bytes once a second, and when it is over") {
  api->hold(operation::upload_file); // "an archive", 10 bytes
  begin();
  caf::timespan now{0};
  auto told_at = [&](caf::timespan at, std::uint64_t sent) {
    advance(at - now);
    REQUIRE((api->sending != nullptr));
    api->sending(sent);
    settle();
    advance(notes_linger);
    now = at + notes_linger;
    return all<transfer_progress>();
  };
  CHECK(told_at(900ms, 1).empty());
  auto told = told_at(1s, 2);
  REQUIRE(told.size() == 1);
  CHECK(told[0].transfer == all<transfer_intended>().at(0).transfer);
  CHECK(told[0].parts == 1);
  CHECK(told[0].parts_done == 0);
  CHECK(told[0].done_bytes == 2);
  CHECK(told[0].sent_bytes == 2);
  CHECK(told[0].size_bytes == 10);
  CHECK(told[0].elapsed_ms == 1000);
  CHECK(told_at(1005ms, 3).size() == 1);
  CHECK(told_at(1990ms, 4).size() == 1);
  told = told_at(2s, 99); // never more than there is
  REQUIRE(told.size() == 2);
  CHECK(told[1].done_bytes == 10);
  CHECK(told[1].parts_done == 0);
  api->release(operation::upload_file);
  advance(notes_linger);
  told = all<transfer_progress>();
  REQUIRE(told.size() == 3);
  CHECK(told[2].parts_done == 1);
  CHECK(told[2].done_bytes == 10);
  CHECK(told[2].sent_bytes == 10);
  CHECK(phases().back() == "running");
}

TEST_CASE_METHOD(transfer_world, "an upload in one piece that is over at once tells no progress") {
  begin();
  CHECK(phases().back() == "running");
  CHECK(all<transfer_progress>().empty());
  CHECK(all<transfer_done>().size() == 1);
}

TEST_CASE_METHOD(parts_world,
                 "a part that is under way counts with the bytes that are sent of it") {
  api->turn_down = [this, n = 0](operation op, const std::string&) mutable {
    if (op == operation::upload_file && ++n == 2) api->hold(op); // the second part
    return error{};
  };
  begin();
  REQUIRE((api->sending != nullptr));
  advance(notes_linger);
  CHECK(all<transfer_progress>().size() == 2); // the start, and the first part
  advance(1s);
  api->sending(2);
  settle();
  advance(notes_linger);
  auto told = all<transfer_progress>();
  REQUIRE(told.size() == 3);
  CHECK(told[2].parts_done == 1);
  CHECK(told[2].done_bytes == 3 + 2);
  CHECK(told[2].sent_bytes == 3 + 2);
  api->turn_down = nullptr;
  api->release(operation::upload_file);
  settle();
  CHECK(all<transfer_progress>().back().done_bytes == 10);
  CHECK(phases().back() == "running");
}

TEST_CASE_METHOD(parts_world,
                 "a connection that is cut costs the part that was under way, and no other") {
  api->turn_down = [cut = false](operation, const std::string& what) mutable {
    return what.ends_with(".00003") && !std::exchange(cut, true) ? make_error(errc::network)
                                                                 : error{};
  };
  begin();
  CHECK(sent() == strings{"00001", "00002", "00003"});
  CHECK(phases().back() == "uploading");
  advance(1s);
  CHECK(sent() == strings{"00001", "00002", "00003", "00003", "00004"});
  CHECK(phases().back() == "running");
}

TEST_CASE_METHOD(parts_world, "each part of an archive has the time of a part, not of a file") {
  begin();
  REQUIRE(sent().size() == 4);
  const auto& given = api->upload_limits; // that of the guest program stands before them
  REQUIRE(given.size() >= 4);
  for (std::size_t i = given.size() - 4; i < given.size(); ++i)
    CHECK(given[i] == sandbox::limit_of(sandbox::step::part_write).deadline);
}

TEST_CASE_METHOD(parts_world, "the next daemon sends only the parts that are not inside") {
  recorded(phase::uploading);
  start.record.base_commit.clear();
  auto& files = api->boxes["i1"].files;
  files[std::string{folder} + "worktree.tar.00001"] = "an ";
  files[std::string{folder} + "worktree.tar.00002"] = "ar";  // cut short
  files[std::string{folder} + "worktree.tar.00003"] = "hiv"; // whole
  begin();
  CHECK(sent() == strings{"00002", "00004"});
  auto told = all<transfer_progress>();
  REQUIRE(told.size() == 3);
  CHECK(told.front().parts_done == 2);
  CHECK(told.front().sent_bytes == 0);
  CHECK(told.back().sent_bytes == 4);
  CHECK(phases().back() == "running");
}

TEST_CASE_METHOD(parts_world,
                 "a part that is another one inside fails the upload before anything is unpacked") {
  auto listing = api->on_run;
  api->on_run = [=, this](const sandbox::remote& where, const sandbox::command& c) {
    if (c.argv.at(1) == "parts" && !api->boxes.begin()->second.files.empty())
      for (auto& [path, content] : api->boxes.begin()->second.files)
        if (path.ends_with(".00002")) content = "xrc"; // one byte changed on the way
    return listing(where, c);
  };
  begin();
  CHECK(ending() == "failed verification@verify");
  CHECK(guest_calls("unpack") == 0);
  CHECK(guest_calls("pane") == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(parts_world, "a listing that makes no sense means that nothing is inside") {
  guest["parts"] = [n = 0, this](const sandbox::command& c) mutable -> result<command_result> {
    if (n++ == 0)
      return said(
          "{\"parts\":[1,{\"name\":5},{\"name\":\"worktree.tar.00001\",\"size_bytes\":\"3\"}]}\n");
    return parts_there(api->boxes.begin()->second.info.address, c.argv.at(3));
  };
  begin();
  CHECK(sent().size() == 4);
  CHECK(phases().back() == "running");
}
