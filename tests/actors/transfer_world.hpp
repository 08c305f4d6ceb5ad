// Sandboxes as scripts of their transfers see them.
#pragma once

#include "tests/actors/sandbox_world.hpp"

namespace skep::test {

/// The end of a sandbox, as the journal has it.
struct left_world : sandbox_world {
  /// The sandbox was left alone at its end.
  bool kept() const { return all<sandbox_closed>().at(0).kept; }
  std::string told_of_left() const {
    auto told = all<notice>();
    for (const auto& n : told)
      if (n.code == "results_left_inside") return n.text;
    return {};
  }
};

struct transfer_world : left_world {
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
};

} // namespace skep::test
