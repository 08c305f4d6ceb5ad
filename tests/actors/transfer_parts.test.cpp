// Scripts of uploads in parts: progress, cuts, and what the next daemon sends.
#include "tests/actors/transfer_world.hpp"

using namespace skep;
using namespace skep::test;

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
