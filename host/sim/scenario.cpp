#include "host/sim/scenario.hpp"

#include <algorithm>
#include <functional>
#include <map>

namespace skep::host::sim {
namespace {

constexpr double p99_of_normal = 2.3263478740408408;

struct bad_field {
  std::string path;
};

double number(const json& j, const std::string& path) {
  if (!j.is_number() || j.get<double>() < 0) throw bad_field{path + ": a number from 0 up"};
  return j.get<double>();
}

double percent(const json& j, const std::string& path) {
  auto x = number(j, path);
  if (x > 100) throw bad_field{path + ": a percentage"};
  return x;
}

spread spread_of(const json& j, const std::string& path) {
  if (j.is_number()) return {number(j, path), number(j, path), 0};
  if (j.is_array() && j.size() == 2) {
    spread out{number(j[0], path), number(j[1], path), 0};
    if (out.low <= out.high) return out;
  }
  if (j.is_object() && j.size() == 2 && j.contains("p50") && j.contains("p99")) {
    auto p50 = number(j["p50"], path), p99 = number(j["p99"], path);
    if (p50 > 0 && p99 >= p50) return {p50, p99, std::log(p99 / p50) / p99_of_normal};
  }
  throw bad_field{path + R"(: N, [LOW, HIGH] or {"p50":N,"p99":N})"};
}

template <class T>
by_scope<T> scoped(const json& j, const std::string& path,
                   const std::function<T(const json&, const std::string&)>& read) {
  by_scope<T> out;
  constexpr const char* names[scopes] = {"create", "control", "envd"};
  bool by_name = j.is_object() && !j.contains("p50");
  if (!by_name) {
    std::fill(std::begin(out.values), std::end(out.values), read(j, path));
    return out;
  }
  for (const auto& [name, value] : j.items()) {
    auto i = std::find(std::begin(names), std::end(names), name);
    if (i == std::end(names)) throw bad_field{path + "." + name + ": create, control or envd"};
    out.values[i - std::begin(names)] = read(value, path + "." + name);
  }
  return out;
}

using setter = std::function<void(const json&, const std::string&)>;

void read_object(const json& j, const std::string& path,
                 const std::map<std::string, setter>& fields) {
  if (!j.is_object()) throw bad_field{path + ": an object"};
  for (const auto& [name, value] : j.items()) {
    auto i = fields.find(name);
    auto whole = path.empty() ? name : path + "." + name;
    if (i == fields.end()) throw bad_field{whole + ": unknown"};
    i->second(value, whole);
  }
}

setter to(spread& x) {
  return [&x](const json& j, const std::string& p) { x = spread_of(j, p); };
}
setter to_percent(double& x) {
  return [&x](const json& j, const std::string& p) { x = percent(j, p); };
}
setter to(by_scope<double>& x) {
  return [&x](const json& j, const std::string& p) { x = scoped<double>(j, p, percent); };
}
setter to(by_scope<spread>& x) {
  return [&x](const json& j, const std::string& p) { x = scoped<spread>(j, p, spread_of); };
}
template <class Int>
setter to_whole(Int& x) {
  return [&x](const json& j, const std::string& p) { x = static_cast<Int>(number(j, p)); };
}
setter to(std::string& x) {
  return [&x](const json& j, const std::string& p) {
    if (!j.is_string()) throw bad_field{p + ": a text"};
    x = j.get<std::string>();
  };
}

setter to(bool& x) {
  return [&x](const json& j, const std::string& p) {
    if (!j.is_boolean()) throw bad_field{p + ": true or false"};
    x = j.get<bool>();
  };
}

void read_agent(const json& j, const std::string& path, agent_script& a) {
  read_object(j, path,
              {{"lines", to(a.lines)},
               {"interval_ms", to(a.interval_ms)},
               {"line_bytes", to(a.line_bytes)},
               {"files", to(a.files)},
               {"cost_usd", to(a.cost_usd)},
               {"exit_code", to_whole(a.exit_code)},
               {"fail_percent", to_percent(a.fail_percent)},
               {"stall_percent", to_percent(a.stall_percent)},
               {"stall_ms", to(a.stall_ms)},
               {"question_percent", to_percent(a.question_percent)},
               {"question", to(a.question)}});
}

void read_steps(const json& j, const std::string& path, std::vector<broken_step>& out) {
  if (!j.is_array()) throw bad_field{path + ": a list"};
  for (const auto& one : j) {
    broken_step x;
    std::string how = "fail";
    read_object(one, path, {{"what", to(x.what)}, {"after", to_whole(x.after)}, {"how", to(how)}});
    if (x.what.empty()) throw bad_field{path + ".what: a text"};
    if (how != "fail" && how != "hang") throw bad_field{path + ".how: fail or hang"};
    x.hangs = how == "hang";
    out.push_back(std::move(x));
  }
}

void read_faults(const json& j, const std::string& path, fault_plan& f) {
  auto creates = [&f](const json& list, const std::string& p) {
    if (!list.is_array()) throw bad_field{p + ": a list of numbers"};
    for (const auto& n : list)
      f.restart_after_creates.push_back(static_cast<std::uint64_t>(number(n, p)));
  };
  auto steps = [](std::vector<broken_step>& to_list) {
    return [&to_list](const json& list, const std::string& p) { read_steps(list, p, to_list); };
  };
  read_object(j, path,
              {{"requests", steps(f.requests)},
               {"programs", steps(f.programs)},
               {"latency_ms", to(f.latency_ms)},
               {"rate_percent", to(f.rate_percent)},
               {"retry_after_s", to_whole(f.retry_after_s)},
               {"quota_percent", to_percent(f.quota_percent)},
               {"error_percent", to(f.error_percent)},
               {"bad_gateway_percent", to(f.bad_gateway_percent)},
               {"hang_percent", to(f.hang_percent)},
               {"garbage_percent", to(f.garbage_percent)},
               {"lost_create_percent", to_percent(f.lost_create_percent)},
               {"lost_kill_percent", to_percent(f.lost_kill_percent)},
               {"late_create_percent", to_percent(f.late_create_percent)},
               {"late_create_ms", to(f.late_create_ms)},
               {"list_lag_ms", to_whole(f.list_lag_ms)},
               {"cut_percent", to_percent(f.cut_percent)},
               {"cut_after_bytes", to(f.cut_after_bytes)},
               {"repeat_percent", to_percent(f.repeat_percent)},
               {"early_death_percent", to_percent(f.early_death_percent)},
               {"early_death_ms", to(f.early_death_ms)},
               {"resume_ms", to(f.resume_ms)},
               {"restart_after_creates", creates},
               {"restart_down_ms", to_whole(f.restart_down_ms)},
               {"open_network", to(f.open_network)},
               {"open_metadata", to(f.open_metadata)}});
}

void read_foreign(const json& j, const std::string& path, std::vector<foreign_sandbox>& out) {
  if (!j.is_array()) throw bad_field{path + ": a list"};
  for (const auto& one : j) {
    foreign_sandbox x;
    auto metadata = [&x](const json& m, const std::string& p) {
      if (!read_string_map(m, x.metadata)) throw bad_field{p + ": texts by name"};
    };
    read_object(one, path,
                {{"template", to(x.template_id)},
                 {"metadata", metadata},
                 {"timeout_s", to_whole(x.timeout_s)}});
    out.push_back(std::move(x));
  }
}

} // namespace

double spread::sample(draw& d) const {
  if (sigma > 0) return low * std::exp(sigma * d.normal());
  return low + (high - low) * d.unit();
}

result<scenario> parse_scenario(std::string_view text) {
  auto j = json::parse(text, nullptr, false);
  if (j.is_discarded()) return make_error(errc::bad_config, "the scenario is no JSON");
  scenario out;
  try {
    read_object(
        j, {},
        {{"agent", [&](const json& x, const std::string& p) { read_agent(x, p, out.agent); }},
         {"faults", [&](const json& x, const std::string& p) { read_faults(x, p, out.faults); }},
         {"foreign",
          [&](const json& x, const std::string& p) { read_foreign(x, p, out.foreign); }}});
  } catch (const bad_field& bad) {
    return make_error(errc::bad_config, "scenario: " + bad.path);
  }
  return out;
}

} // namespace skep::host::sim
