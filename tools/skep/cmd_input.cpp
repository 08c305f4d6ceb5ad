// skep send: one input for an agent. skep attach: its output live, every line typed is sent.
#include "broker/output_client.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/log_view.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <poll.h>
#include <unistd.h>

namespace skep::cli {

namespace {

/// Input that is sent at once.
constexpr std::size_t max_input_bytes = 256 * 1024;

struct send_options {
  std::string pane;
  std::vector<std::string> words;
  bool no_newline = false;
};

/// Why a pane takes no input at present; none when it does.
error input_refused(const found_pane& p) {
  if (p.agent != agent_kind::command)
    return make_error(errc::cannot_send, p.name + " runs " + std::string{to_string(p.agent)}
                                             + ", which reads its prompt once and nothing later");
  if (p.state == pane_phase::closed) return make_error(errc::wrong_phase, p.name + " has ended");
  return {};
}

result<std::string> read_stdin() {
  std::string out;
  char piece[4096];
  while (out.size() <= max_input_bytes) {
    auto n = ::read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(errc::io, "reading standard input", std::strerror(errno));
    if (n == 0) break;
    out.append(piece, static_cast<std::size_t>(n));
  }
  return out;
}

int send(const app& a, const send_options& o) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto pane = find_pane(*daemon, o.pane);
  if (!pane) return fail(a, pane.err());
  if (auto e = input_refused(*pane)) return fail(a, e);
  std::string data;
  if (o.words.empty()) {
    auto text = read_stdin();
    if (!text) return fail(a, text.err());
    data = std::move(*text);
  } else {
    for (const auto& w : o.words)
      data += (data.empty() ? "" : " ") + w;
    if (!o.no_newline) data += '\n';
  }
  if (data.empty()) return fail(a, make_error(errc::bad_argument, "there is nothing to send"));
  if (data.size() > max_input_bytes)
    return fail(a,
                make_error(errc::too_large, std::to_string(max_input_bytes) + " bytes at a time"));
  auto reply = daemon->call(send_request{pane->pane, {data}}, command_deadline, random_token(20));
  if (!reply) return fail(a, reply.err());
  if (a.json_mode)
    print_json(to_json(*reply));
  else
    print_line("Accepted as event " + std::to_string(reply->seq) + ".");
  return 0;
}

/// Whole lines of standard input as they come.
class line_input {
public:
  /// Reads what is there without waiting; false at the end of the input.
  bool read() {
    pollfd item{STDIN_FILENO, POLLIN, 0};
    while (::poll(&item, 1, 0) > 0) {
      char piece[4096];
      auto n = ::read(STDIN_FILENO, piece, sizeof piece);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      text_.append(piece, static_cast<std::size_t>(n));
    }
    return true;
  }
  /// The lines that are complete, newlines included.
  std::string take() {
    auto end = text_.rfind('\n');
    if (end == std::string::npos) return {};
    auto out = text_.substr(0, end + 1);
    text_.erase(0, end + 1);
    return out;
  }

private:
  std::string text_;
};

int attach(const app& a, const std::string& name) {
  if (a.json_mode)
    return fail(a, make_error(errc::bad_argument,
                              "attach is for people; use `skep logs -f --json` and `skep send`"));
  signal_watch signals;
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto pane = find_pane(*daemon, name);
  if (!pane) return fail(a, pane.err());
  auto refused = input_refused(*pane);
  auto out = broker::output_stream::open(endpoints_of(*paths), {pane->swarm, pane->sandbox});
  if (!out) return fail(a, out.err());
  constexpr std::int64_t some_bytes = 16 * 1024;
  out->watch(pane->pane, -some_bytes);
  remark(refused ? "Watching only: " + refused.message + ". Ctrl+C leaves."
                 : "Every line you type is sent. Ctrl+C leaves; the agent goes on.");
  log_view view{false, false, {*pane}};
  line_input input;
  bool reading = !refused;
  auto next_look = std::chrono::steady_clock::now();
  for (;;) {
    if (auto s = signals.next(); s != 0) return s == SIGINT ? 0 : exit_hangup;
    if (reading) {
      reading = input.read();
      if (auto lines = input.take(); !lines.empty()) {
        auto sent =
            daemon->call(send_request{pane->pane, {lines}}, command_deadline, random_token(20));
        if (!sent) remark("not sent: " + render(sent.err()));
      }
    }
    auto piece = out->next(std::chrono::milliseconds{100});
    if (!piece && piece.err().code != errc::not_found) return fail(a, piece.err());
    if (!piece) signals.wait(std::chrono::milliseconds{100});
    if (piece && *piece) view.show(**piece);
    auto now = std::chrono::steady_clock::now();
    if (piece && !*piece && out->done() && now >= next_look) {
      next_look = now + std::chrono::seconds{1};
      auto again = find_pane(*daemon, pane->pane.value);
      if (again && again->state == pane_phase::closed) {
        remark(pane->name + " has ended.");
        return 0;
      }
    }
  }
}

} // namespace

void add_input(CLI::App& cli, app& a) {
  auto o = std::make_shared<send_options>();
  auto* s = add_command(cli, a, "send", "Send a line to an agent that reads input",
                        "  skep send sw_x/p0 continue with the next file\n"
                        "  skep send pn_y < answers.txt",
                        [&a, o] { return send(a, *o); });
  s->add_option("PANE", o->pane, "pn_... or SWARM/NAME")->required();
  s->add_option("TEXT", o->words, "Words of the line; none: standard input as it is");
  s->add_flag("--no-newline", o->no_newline, "Do not end TEXT with a newline");
  auto name = std::make_shared<std::string>();
  auto* c = add_command(cli, a, "attach", "Watch an agent and type to it", "  skep attach sw_x/p0",
                        [&a, name] { return attach(a, *name); });
  c->add_option("PANE", *name, "pn_... or SWARM/NAME")->required();
}

} // namespace skep::cli
