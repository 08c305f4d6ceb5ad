// Scripts of downloads whose summary lies in a file, and of answers that are none.
#include "actors/chunk_builder.hpp"
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// A world whose guest puts its summaries into files, as it does since answers are of any length.
struct summary_world : sandbox_world {
  std::function<void(json&)> change = [](json&) {}; ///< Of the summary.
  std::string written_over;                         ///< The file holds this instead.
  strings words;                                    ///< Of the last call.

  summary_world() {
    auto usual = api->on_run;
    api->on_run = [this, usual](const sandbox::remote& r,
                                const sandbox::command& c) -> result<command_result> {
      auto out = usual(r, c);
      if (c.argv.size() < 2 || c.argv[0] != ctx->guest_path() || c.argv[1] != "diff" || !out)
        return out;
      words = c.argv;
      auto summary = json::parse(out->stdout_data);
      change(summary);
      auto text = to_line(summary);
      auto& files = api->boxes.at(r.remote_id).files;
      files[after("--out") + "/" + after("--name") + ".json"] =
          written_over.empty() ? text : written_over;
      json answer{{"commits", 0}, {"paths", 0}};
      answer["summary_bytes"] = text.size();
      answer["summary_sha256"] = transfer::sha256_of(text);
      return said(to_line(answer) + "\n");
    };
  }
  std::string after(const char* option) const {
    return *(std::find(words.begin(), words.end(), option) + 1);
  }
  /// The texts of notices of this code.
  strings told(const std::string& code) const {
    strings out;
    auto notices = all<notice>();
    for (const auto& n : notices)
      if (n.code == code) out.push_back(n.text);
    return out;
  }
};

} // namespace

TEST_CASE_METHOD(summary_world,
                 "a summary in a file is fetched as the archive is, and the base is looked for "
                 "in the sandbox's own repository") {
  auto lost = GENERATE(0, 2);
  api->turn_down = [left = lost](operation op, const std::string& what) mutable {
    return op == operation::download_file && what.ends_with("/p0.json") && left-- > 0
               ? make_error(errc::network)
               : error{};
  };
  begin();
  exit("pn_0");
  if (lost > 0) advance(3s); // 1 + 2
  CHECK(ending() == "completed");
  CHECK(asked_for("/p0.json") == static_cast<std::size_t>(lost) + 1);
  CHECK(asked_for("/p0.patch") == 1);
  CHECK(guest_calls("diff") == 1);
  CHECK(after("--repo") == inside::repo);
  CHECK(has_patch("p0"));
}

TEST_CASE_METHOD(summary_world, "a summary that is not the one announced fails its download") {
  written_over = "{}";
  begin();
  exit("pn_0");
  CHECK(ending() == "failed checksum@unpack");
  CHECK_FALSE(has_patch("p0"));
}

TEST_CASE_METHOD(sandbox_world,
                 "an answer that was cut off says so, and one that announces too much is refused") {
  bool cut = GENERATE(true, false);
  guest["diff"] = [cut](const sandbox::command&) -> result<command_result> {
    if (!cut)
      return said("{\"summary_bytes\":999999999999,\"summary_sha256\":\"" + std::string(64, 'a')
                  + "\"}\n");
    auto out = said("{\"modified\":[\"half of a na");
    out.stdout_truncated = true;
    return out;
  };
  begin();
  exit("pn_0");
  CHECK(ending() == (cut ? "failed protocol@diff" : "failed too_large@diff"));
  REQUIRE(all<transfer_failed>().size() == 1);
  auto why = all<transfer_failed>()[0].why.message;
  CHECK((why.find(cut ? "is cut off after 26 bytes" : "999999999999") != std::string::npos));
  CHECK(api->count(operation::download_file) == 0);
}

TEST_CASE_METHOD(summary_world, "what an agent's own deeds cost its results is told by name") {
  change = [](json& summary) {
    summary["no_history"] = true;
    summary["unreadable"] = {"locked", "other"};
    summary["too_large"] = json::array({"data.bin"});
  };
  begin();
  exit("pn_0");
  CHECK(ending() == "completed");
  advance(notes_linger);
  CHECK(told("history_left_out")
        == strings{"what p0 brought is its files against the base, as one diff: the repository of "
                   "its tree has no commit to go by"});
  CHECK(told("unreadable_left_out")
        == strings{"what p0 brought leaves out locked and 1 more, which nobody may read inside"});
  CHECK(told("large_left_out")
        == strings{"what p0 brought leaves out data.bin, too large to come back with the rest"});
}
