#include "sandbox/wire.hpp"

#include "messages/json.hpp"
#include "sandbox/errors.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace skep::sandbox::wire {
namespace {

using value = nlohmann::json;

error not_understood(std::string_view body) {
  return make_error(errc::protocol, "the answer is not understood", foreign_text(body));
}

result<std::string> dump(const value& x) {
  try {
    return x.dump();
  } catch (const nlohmann::json::exception&) {
    return make_error(errc::bad_argument, "a text is not UTF-8");
  }
}

/// Reads members of one object; the first wrong type makes it bad.
class reader {
public:
  explicit reader(const value& object) : object_(object), good_(object.is_object()) {}

  bool good() const { return good_; }
  const value* member(const char* name) const {
    if (!object_.is_object()) return nullptr;
    auto i = object_.find(name);
    return i == object_.end() || i->is_null() ? nullptr : &*i;
  }
  std::string text(const char* name) {
    auto* x = member(name);
    if (!x) return {};
    if (!x->is_string()) good_ = false;
    return x->is_string() ? x->get<std::string>() : std::string{};
  }
  bool boolean(const char* name) {
    auto* x = member(name);
    if (!x) return false;
    if (!x->is_boolean()) good_ = false;
    return x->is_boolean() && x->get<bool>();
  }
  /// Integers come as numbers or, when they have 64 bits, as text.
  template <class T>
  T integer(const char* name) {
    auto* x = member(name);
    if (!x) return {};
    T out{};
    if (x->is_string()) {
      const auto& s = x->get_ref<const std::string&>();
      auto [end, bad] = std::from_chars(s.data(), s.data() + s.size(), out);
      if (bad != std::errc{} || end != s.data() + s.size()) good_ = false;
    } else if (x->is_number_unsigned()) {
      auto n = x->get<std::uint64_t>();
      if (!std::in_range<T>(n)) good_ = false;
      out = static_cast<T>(n);
    } else if (x->is_number_integer()) {
      auto n = x->get<std::int64_t>();
      if (!std::in_range<T>(n)) good_ = false;
      out = static_cast<T>(n);
    } else {
      good_ = false;
    }
    return out;
  }
  std::map<std::string, std::string> text_map(const char* name) {
    std::map<std::string, std::string> out;
    auto* x = member(name);
    if (!x) return out;
    if (!x->is_object()) {
      good_ = false;
      return out;
    }
    for (const auto& [key, v] : x->items()) {
      if (!v.is_string()) good_ = false;
      out[key] = v.is_string() ? v.get<std::string>() : std::string{};
    }
    return out;
  }

private:
  const value& object_;
  bool good_;
};

value parse(std::string_view body) {
  return value::parse(body, nullptr, false);
}

value network_value(const network_rules& rules) {
  value out = value::object();
  if (!rules.allow_out.empty()) {
    out["allowOut"] = rules.allow_out;
    out["denyOut"] = value::array({"0.0.0.0/0"});
  }
  if (!rules.inject.empty()) {
    value& by_domain = out["rules"] = value::object();
    for (const auto& [domain, headers] : rules.inject)
      by_domain[domain] = value::array({{{"transform", {{"headers", headers}}}}});
  }
  return out;
}

bool fill_listed(const value& x, listed& out) {
  reader r{x};
  out.remote_id = r.text("sandboxID");
  auto state = r.text("state");
  if (state == "paused")
    out.state = remote_state::paused;
  else if (state != "running" && !state.empty())
    return false;
  out.metadata = r.text_map("metadata");
  auto time = [&](const char* name, auto& to) {
    auto text = r.text(name);
    auto at = read_time(text);
    if (at) to = *at;
    return at.has_value() || text.empty();
  };
  return time("startedAt", out.started_at) && time("endAt", out.end_at) && r.good()
         && valid_remote_id(out.remote_id);
}

entry_type type_of(const value* x) {
  static constexpr std::array<std::string_view, 4> names{
      "FILE_TYPE_UNSPECIFIED", "FILE_TYPE_FILE", "FILE_TYPE_DIRECTORY", "FILE_TYPE_SYMLINK"};
  if (!x) return entry_type::unknown;
  if (x->is_number_integer()) {
    auto n = x->get<std::int64_t>();
    return n >= 0 && n <= 3 ? static_cast<entry_type>(n) : entry_type::unknown;
  }
  if (!x->is_string()) return entry_type::unknown;
  auto i = std::find(names.begin(), names.end(), x->get_ref<const std::string&>());
  return i == names.end() ? entry_type::unknown : static_cast<entry_type>(i - names.begin());
}

bool fill_entry(const value& x, entry& out) {
  reader r{x};
  out.name = r.text("name");
  out.path = r.text("path");
  out.type = type_of(r.member("type"));
  out.size_bytes = r.integer<std::uint64_t>("size");
  out.mode = r.integer<std::uint32_t>("mode");
  out.symlink_target = r.text("symlinkTarget");
  return r.good();
}

bool decode_member(const value* x, std::string& out) {
  return x->is_string() && base64_decode(x->get_ref<const std::string&>(), out);
}

} // namespace

result<std::string> create_body(const create_params& params) {
  value out{{"templateID", params.template_name},
            {"timeout", params.lease.count()},
            {"secure", params.secure},
            {"autoPause", false},
            {"allow_internet_access", params.network.internet},
            {"metadata", params.metadata},
            {"envVars", params.env}};
  if (auto network = network_value(params.network); !network.empty()) out["network"] = network;
  return dump(out);
}

result<std::string> network_body(const network_rules& rules) {
  value out = network_value(rules);
  out["allow_internet_access"] = rules.internet;
  return dump(out);
}

result<std::string> start_body(const command& what) {
  value process{{"cmd", what.argv.at(0)},
                {"args", std::vector<std::string>(what.argv.begin() + 1, what.argv.end())}};
  if (!what.env.empty()) process["envs"] = what.env;
  if (!what.cwd.empty()) process["cwd"] = what.cwd;
  value out{{"process", process}};
  if (what.pty)
    out["pty"] = {{"size", {{"cols", what.pty->columns}, {"rows", what.pty->rows}}}};
  else
    out["stdin"] = what.stdin_open || !what.stdin_data.empty();
  if (!what.tag.empty()) out["tag"] = what.tag;
  return dump(out);
}

std::string process_body(std::uint32_t pid, std::string_view more) {
  std::string out = "{\"process\":{\"pid\":" + std::to_string(pid) + "}";
  if (!more.empty()) (out += ',') += more;
  return out + "}";
}

result<std::string> text_body(const std::vector<std::pair<std::string, std::string>>& members) {
  value out = value::object();
  for (const auto& [name, text] : members)
    out[name] = text;
  return dump(out);
}

result<std::string> list_dir_body(std::string_view path, std::uint32_t depth) {
  return dump(value{{"path", path}, {"depth", depth}});
}

std::string url_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    const bool plain = (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || (u >= '0' && u <= '9')
                       || c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(digits[u >> 4U]);
      out.push_back(digits[u & 15U]);
    }
  }
  return out;
}

bool valid_remote_id(std::string_view id) {
  return !id.empty() && id.size() <= 100 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'
           || c == '_';
  });
}

std::string list_query(const list_filter& filter, std::string_view token) {
  std::string states;
  if (filter.running) states = "running";
  if (filter.paused) states += states.empty() ? "paused" : ",paused";
  std::string out = "?limit=100&state=" + states;
  // The value is a query string of its own whose keys and values the server unescapes twice more.
  std::string pairs;
  for (const auto& [key, text] : filter.metadata) {
    if (!pairs.empty()) pairs += '&';
    pairs += url_encode(url_encode(key)) + "=" + url_encode(url_encode(text));
  }
  if (!pairs.empty()) out += "&metadata=" + url_encode(pairs);
  if (!token.empty()) out += "&nextToken=" + url_encode(token);
  return out;
}

result<created> read_created(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  created out;
  out.address = {r.text("sandboxID"), r.text("envdAccessToken"), r.text("domain")};
  out.envd_version = r.text("envdVersion");
  if (!r.good() || !valid_remote_id(out.address.remote_id))
    return make_error(errc::protocol, "the answer to create names no sandbox");
  return out;
}

result<detail> read_detail(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  detail out;
  if (!fill_listed(parsed, out)) return make_error(errc::protocol, "the answer is not understood");
  out.address = {out.remote_id, r.text("envdAccessToken"), r.text("domain")};
  out.envd_version = r.text("envdVersion");
  if (!r.good()) return make_error(errc::protocol, "the answer is not understood");
  return out;
}

result<std::vector<listed>> read_list(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array()) return not_understood(body);
  std::vector<listed> out;
  for (const auto& x : parsed)
    if (!fill_listed(x, out.emplace_back())) return not_understood(x.dump(-1, ' ', true));
  return out;
}

result<std::vector<process_info>> read_processes(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  if (!r.good()) return not_understood(body);
  std::vector<process_info> out;
  auto* list = r.member("processes");
  if (!list) return out;
  if (!list->is_array()) return not_understood(body);
  for (const auto& x : *list) {
    reader p{x};
    process_info info{p.integer<std::uint32_t>("pid"), p.text("tag"), {}};
    if (auto* config = p.member("config")) {
      reader c{*config};
      info.argv.push_back(c.text("cmd"));
      if (auto* args = c.member("args"); args && args->is_array())
        for (const auto& a : *args)
          info.argv.push_back(a.is_string() ? a.get<std::string>() : std::string{});
    }
    if (!p.good()) return not_understood(body);
    out.push_back(std::move(info));
  }
  return out;
}

result<entry> read_entry(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  entry out;
  auto* x = r.member("entry");
  if (!x || !fill_entry(*x, out)) return not_understood(body);
  return out;
}

result<std::vector<entry>> read_entries(std::string_view body) {
  auto parsed = parse(body);
  reader r{parsed};
  std::vector<entry> out;
  auto* list = r.member("entries");
  if (!r.good() || (list && !list->is_array())) return not_understood(body);
  if (list)
    for (const auto& x : *list)
      if (!fill_entry(x, out.emplace_back())) return not_understood(body);
  return out;
}

result<void> read_empty(std::string_view body) {
  if (!parse(body).is_object()) return not_understood(body);
  return {};
}

result<void> read_uploaded(std::string_view body) {
  auto parsed = parse(body);
  if (!parsed.is_array() || parsed.empty()) return not_understood(body);
  return {};
}

std::optional<std::uint64_t> read_content_range(std::string_view text) {
  auto slash = text.rfind('/');
  if (!text.starts_with("bytes ") || slash == std::string_view::npos) return {};
  text.remove_prefix(slash + 1);
  std::uint64_t out = 0;
  auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (bad != std::errc{} || end != text.data() + text.size()) return {};
  return out;
}

std::optional<std::chrono::system_clock::time_point> read_time(std::string_view text) {
  // 2026-01-02T03:04:05[.fraction](Z|+hh:mm|-hh:mm)
  auto number = [&](std::size_t at, std::size_t size, unsigned& out) {
    if (text.size() < at + size) return false;
    out = 0;
    for (char c : text.substr(at, size)) {
      if (c < '0' || c > '9') return false;
      out = out * 10 + static_cast<unsigned>(c - '0');
    }
    return true;
  };
  auto is = [&](std::size_t at, std::string_view any) {
    return at < text.size() && any.find(text[at]) != std::string_view::npos;
  };
  unsigned year, month, day, hour, minute, second;
  if (!number(0, 4, year) || !is(4, "-") || !number(5, 2, month) || !is(7, "-")
      || !number(8, 2, day) || !is(10, "Tt ") || !number(11, 2, hour) || !is(13, ":")
      || !number(14, 2, minute) || !is(16, ":") || !number(17, 2, second))
    return {};
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(year)},
                                         std::chrono::month{month}, std::chrono::day{day}};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return {};
  std::size_t at = 19;
  std::chrono::nanoseconds fraction{0};
  if (is(at, ".")) {
    std::int64_t unit = 100'000'000;
    for (++at; is(at, "0123456789"); ++at, unit /= 10)
      fraction += std::chrono::nanoseconds{(text[at] - '0') * unit};
  }
  std::chrono::minutes offset{0};
  if (is(at, "+-")) {
    unsigned h, m;
    if (!number(at + 1, 2, h) || !is(at + 3, ":") || !number(at + 4, 2, m) || h > 23 || m > 59)
      return {};
    offset = std::chrono::hours{h} + std::chrono::minutes{m};
    if (text[at] == '-') offset = -offset;
    at += 6;
  } else if (is(at, "Zz")) {
    ++at;
  } else {
    return {};
  }
  if (at != text.size()) return {};
  using clock = std::chrono::system_clock;
  return std::chrono::time_point_cast<clock::duration>(
      std::chrono::sys_days{date} + std::chrono::hours{hour} + std::chrono::minutes{minute}
      + std::chrono::seconds{second} + fraction - offset);
}

result<process_event> read_process_event(std::string_view payload) {
  // Without the payload: it may be a process's output.
  const error bad = make_error(errc::protocol, "an event of the stream is not understood");
  auto parsed = parse(payload);
  reader outer{parsed};
  if (!outer.good()) return bad;
  auto* event = outer.member("event");
  if (!event) return process_event{keepalive{}};
  reader r{*event};
  if (!r.good()) return bad;
  if (auto* x = r.member("start")) {
    reader s{*x};
    started out{s.integer<std::uint32_t>("pid")};
    if (!s.good()) return bad;
    return process_event{out};
  }
  if (auto* x = r.member("data")) {
    reader d{*x};
    output out;
    if (!d.good()) return bad;
    for (const char* name : {"stdout", "stderr", "pty"}) {
      auto* data = d.member(name);
      if (!data) continue;
      out.is_stderr = name == std::string_view{"stderr"};
      if (!decode_member(data, out.data)) return bad;
      break;
    }
    return process_event{std::move(out)};
  }
  if (auto* x = r.member("end")) {
    reader e{*x};
    ended out;
    out.how.exit_code = e.integer<int>("exitCode");
    out.how.exited = e.boolean("exited");
    out.how.status = foreign_text(e.text("status"));
    if (!e.good()) return bad;
    return process_event{std::move(out)};
  }
  return process_event{keepalive{}};
}

result<void> read_end_of_stream(std::string_view payload) {
  auto parsed = parse(payload);
  reader r{parsed};
  if (!r.good()) return not_understood(payload);
  auto* failure = r.member("error");
  if (!failure) return {};
  reader e{*failure};
  auto code = e.text("code");
  auto message = e.text("message");
  if (!e.good()) return not_understood(payload);
  return classify_connect(code, message);
}

} // namespace skep::sandbox::wire
