// A running simulator and its record.
#pragma once

#include "tests/host/host_fixture.hpp"

#include <fstream>

namespace skep::test {

class simulator {
public:
  explicit simulator(const json& scenario = json::object(), const std::string& seed = "7")
      : process_(state_, words(scenario, seed)) {}
  const host_process* operator->() const { return &process_; }
  host_process& process() { return process_; }

  /// Every line of the record, without its time. One that is just being written is none yet.
  std::vector<json> record(const std::string& event = {}) const {
    std::vector<json> out;
    std::ifstream in{state_.path() + "/record.jsonl"};
    for (std::string line; std::getline(in, line) && !in.eof();) {
      auto j = json::parse(line);
      j.erase("t_ms");
      if (event.empty() || j.at("event") == event) out.push_back(std::move(j));
    }
    return out;
  }
  static string_map to(const sandbox& s) { return host_process::to(s); }
  std::vector<std::string> listed() const {
    std::vector<std::string> out;
    for (const auto& x : body_of(process_.call("GET", "/v2/sandboxes")))
      out.push_back(x.at("sandboxID").get<std::string>());
    return out;
  }

private:
  std::vector<std::string> words(const json& scenario, const std::string& seed) {
    auto file = state_.dir() / "scenario.json";
    std::ofstream{file} << scenario.dump();
    return {"--driver", "sim", "--seed", seed, "--faults", file};
  }
  host_state state_;
  host_process process_;
};

inline const char* create_body = R"({"templateID":"base","timeout":60})";

} // namespace skep::test
