// Processes: Start, selectors, events.
#include "sandbox/wire_json.hpp"

namespace skep::sandbox::wire {
namespace {

bool decode_member(const value* x, std::string& out) {
  return x->is_string() && base64_decode(x->get_ref<const std::string&>(), out);
}

} // namespace

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

result<std::string> process_body(std::string_view tag, std::string_view more) {
  auto text = dump(value(tag));
  if (!text) return text.err();
  std::string out = "{\"process\":{\"tag\":" + *text + "}";
  if (!more.empty()) (out += ',') += more;
  return out + "}";
}

std::string input_member(std::string_view data, bool to_pty) {
  return std::string{"\"input\":{\""} + (to_pty ? "pty" : "stdin") + "\":\"" + base64_encode(data)
         + "\"}";
}

std::string size_member(command::terminal size) {
  return "\"pty\":{\"size\":{\"cols\":" + std::to_string(size.columns)
         + ",\"rows\":" + std::to_string(size.rows) + "}}";
}

const char* signal_member(signal which) {
  return which == signal::kill ? "\"signal\":\"SIGNAL_SIGKILL\"" : "\"signal\":\"SIGNAL_SIGTERM\"";
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
