#include "host/envd/connect_rpc.hpp"

#include <charconv>
#include <csignal>

namespace skep::envd {

namespace {
struct code_row {
  rpc_code code;
  std::string_view name;
  unsigned status;
};
constexpr code_row codes[] = {
    {rpc_code::canceled, "canceled", 499},
    {rpc_code::unknown, "unknown", 500},
    {rpc_code::invalid_argument, "invalid_argument", 400},
    {rpc_code::deadline_exceeded, "deadline_exceeded", 504},
    {rpc_code::not_found, "not_found", 404},
    {rpc_code::already_exists, "already_exists", 409},
    {rpc_code::permission_denied, "permission_denied", 403},
    {rpc_code::resource_exhausted, "resource_exhausted", 429},
    {rpc_code::failed_precondition, "failed_precondition", 400},
    {rpc_code::unimplemented, "unimplemented", 501},
    {rpc_code::internal, "internal", 500},
    {rpc_code::unavailable, "unavailable", 503},
    {rpc_code::unauthenticated, "unauthenticated", 401},
};

const code_row& row(rpc_code code) {
  for (const auto& r : codes)
    if (r.code == code) return r;
  return codes[1];
}

json error_value(const rpc_failure& f) {
  return json{{"code", std::string{to_string(f.code)}}, {"message", f.message}};
}

[[noreturn]] void wrong_type(std::string_view name) {
  fail(rpc_code::invalid_argument, "field " + std::string{name} + " has a wrong type");
}

std::string snake(std::string_view camel) {
  std::string out;
  for (char c : camel)
    if (c >= 'A' && c <= 'Z') {
      out += '_';
      out += static_cast<char>(c - 'A' + 'a');
    } else {
      out += c;
    }
  return out;
}
} // namespace

std::string_view to_string(rpc_code code) {
  return row(code).name;
}
unsigned http_status(rpc_code code) {
  return row(code).status;
}

std::string envelope(std::uint8_t flags, std::string_view payload) {
  auto size = static_cast<std::uint32_t>(payload.size());
  std::string out;
  out.reserve(payload.size() + 5);
  out += static_cast<char>(flags);
  for (int shift = 24; shift >= 0; shift -= 8)
    out += static_cast<char>(size >> shift & 0xff);
  out += payload;
  return out;
}

std::string dump(const json& j) {
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string end_of_stream(const rpc_failure& f) {
  return envelope(flag_end_of_stream, dump(json{{"error", error_value(f)}}));
}
std::string end_of_stream() {
  return envelope(flag_end_of_stream, "{}");
}
std::string error_json(const rpc_failure& f) {
  return dump(error_value(f));
}

json parse_message(std::string_view body) {
  if (body.empty()) return json::object();
  auto j = json::parse(body, nullptr, false);
  if (!j.is_object()) fail(rpc_code::invalid_argument, "the request is no JSON object");
  return j;
}

json parse_enveloped(std::string_view body) {
  if (body.size() < 5) fail(rpc_code::invalid_argument, "the request holds no envelope");
  auto flags = static_cast<std::uint8_t>(body[0]);
  if (flags != 0) fail(rpc_code::invalid_argument, "the request's envelope has unknown flags");
  std::uint32_t size = 0;
  for (int i = 1; i < 5; ++i)
    size = size << 8 | static_cast<std::uint8_t>(body[static_cast<std::size_t>(i)]);
  if (size != body.size() - 5)
    fail(rpc_code::invalid_argument, "the request must hold exactly one envelope");
  return parse_message(body.substr(5));
}

const json* find(const json& j, std::string_view name) {
  if (!j.is_object()) return nullptr;
  auto i = j.find(std::string{name});
  if (i == j.end()) i = j.find(snake(name));
  return i == j.end() || i->is_null() ? nullptr : &*i;
}

std::optional<std::string> get_optional_string(const json& j, std::string_view name) {
  const auto* v = find(j, name);
  if (!v) return std::nullopt;
  if (!v->is_string()) wrong_type(name);
  return v->get<std::string>();
}

std::string get_string(const json& j, std::string_view name) {
  return get_optional_string(j, name).value_or(std::string{});
}

std::int64_t get_int(const json& j, std::string_view name) {
  const auto* v = find(j, name);
  if (!v) return 0;
  if (v->is_number_integer()) return v->get<std::int64_t>();
  if (!v->is_string()) wrong_type(name);
  const auto& text = v->get_ref<const std::string&>();
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) wrong_type(name);
  return value;
}

bool get_bool(const json& j, std::string_view name, bool otherwise) {
  const auto* v = find(j, name);
  if (!v) return otherwise;
  if (!v->is_boolean()) wrong_type(name);
  return v->get<bool>();
}

std::string get_bytes(const json& j, std::string_view name) {
  std::string out;
  if (!base64_decode(get_string(j, name), out))
    fail(rpc_code::invalid_argument, "field " + std::string{name} + " is no base64");
  return out;
}

std::optional<std::string> requested_user(std::string_view path, std::string_view authorization) {
  if (path != "/process.Process/Start" && !path.starts_with("/filesystem.")) return {};
  if (!authorization.starts_with("Basic ")) return {};
  std::string name;
  if (!base64_decode(authorization.substr(6), name))
    fail(rpc_code::unauthenticated, "invalid username");
  return name.substr(0, name.find(':'));
}

int requested_signal(const json& request) {
  const auto* asked = find(request, "signal");
  if (!asked || *asked == "SIGNAL_UNSPECIFIED" || *asked == 0)
    fail(rpc_code::unimplemented, "only SIGNAL_SIGTERM and SIGNAL_SIGKILL can be sent");
  if (*asked == "SIGNAL_SIGTERM" || *asked == SIGTERM) return SIGTERM;
  if (*asked == "SIGNAL_SIGKILL" || *asked == SIGKILL) return SIGKILL;
  fail(rpc_code::invalid_argument, "signal: only SIGNAL_SIGTERM and SIGNAL_SIGKILL are known");
}

} // namespace skep::envd
