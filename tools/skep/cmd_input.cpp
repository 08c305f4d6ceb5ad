// skep send: one input for an agent.
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
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
  auto words = o.words;
  words.insert(words.end(), a.trailing.begin(), a.trailing.end());
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto pane = find_pane(*daemon, o.pane);
  if (!pane) return fail(a, pane.err());
  if (auto e = input_refused(*pane)) return fail(a, e);
  std::string data;
  if (words.empty()) {
    auto text = read_stdin();
    if (!text) return fail(a, text.err());
    data = std::move(*text);
  } else {
    for (std::size_t i = 0; i < words.size(); ++i)
      data += (i == 0 ? "" : " ") + words[i];
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

} // namespace

void add_input(CLI::App& cli, app& a) {
  auto o = std::make_shared<send_options>();
  auto* s = add_command(cli, a, "send", "Send a line to an agent that reads input",
                        "  skep send sw_x/p0 continue with the next file\n"
                        "  skep send sw_x/p0 -- -y\n"
                        "  skep send pn_y < answers.txt",
                        [&a, o] { return send(a, *o); });
  s->add_option("PANE", o->pane, "pn_... or SWARM/NAME")->required();
  s->add_option("TEXT", o->words,
                "Words of the line, those behind -- as they are; none: standard input as it is");
  s->add_flag("--no-newline", o->no_newline, "Do not end TEXT with a newline");
}

} // namespace skep::cli
