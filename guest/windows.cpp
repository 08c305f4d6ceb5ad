#include "guest/windows.hpp"

#include "guest/layout.hpp"
#include "transfer/process.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using tmux_words = std::vector<std::string>;
constexpr std::chrono::seconds tmux_limit{10}; // of each call; row S2-07
constexpr std::string_view session_prefix = "skep-";
constexpr const char* shows_option = "@skep_shows"; // what a finished session shows

void append(tmux_words& to, const tmux_words& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// ~/.skep/tmux, beside the folder of all panes: the pane's attempt, the pane, the panes.
std::string folder_of(const shown_pane& pane) {
  auto out = pane.dir;
  for (int up = 0; up < 3; ++up)
    out.erase(std::min(out.rfind('/'), out.size()));
  return out + "/tmux";
}

error check(const windows_options& o) {
  auto id = std::string_view{o.session};
  if (!id.starts_with(session_prefix)
      || !sandbox_id{std::string{id.substr(session_prefix.size())}}.valid())
    return make_error(errc::bad_argument, "--session wants skep-sb_...");
  if (o.panes.empty() || o.panes.size() > max_windows_panes)
    return make_error(errc::out_of_range,
                      "panes: 1 to " + std::to_string(max_windows_panes) + " are shown");
  return {};
}

class session {
public:
  explicit session(const windows_options& o)
      : o_(o), folder_(folder_of(o.panes.front())), socket_(folder_ + "/" + o.session + ".sock") {
    std::string all;
    for (const auto& p : o.panes)
      all += p.name + ":" + p.dir + "\n";
    shows_ = transfer::sha256_of(all);
    std::array<char, 4096> self{};
    auto n = ::readlink("/proc/self/exe", self.data(), self.size());
    program_.assign(self.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  }

  const std::string& socket() const { return socket_; }
  std::size_t windows() const {
    return (o_.panes.size() + panes_per_window - 1) / panes_per_window;
  }

  result<void> make() {
    if (auto made = transfer::make_dirs(folder_); !made) return made;
    unique_fd lock{
        ::open((folder_ + "/" + o_.session + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!lock) return transfer::io_error(folder_, errno);
    while (::flock(lock.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
    auto there = tmux({"show-options", "-v", "-t", target(), shows_option});
    if (!there) return there.err();
    if (there->good() && there->out == shows_ + "\n") return {};
    auto old = tmux({"has-session", "-t", target()});
    if (!old) return old.err();
    // In one call with what follows: a server without a session ends, and the next call might meet
    // it while it does.
    tmux_words first;
    if (old->good()) first = {"kill-session", "-t", target(), ";"};
    append(first, window(0));
    if (auto made = must(first); !made) return made;
    for (std::size_t w = 1; w < windows(); ++w)
      if (auto made = must(window(w)); !made) return made;
    return must({"set-option", "-t", target(), shows_option, shows_});
  }

  /// argv of the client of this terminal.
  tmux_words client() const {
    tmux_words out = base();
    append(out, {"attach-session", "-t", target()});
    if (o_.read_only) out.push_back("-r");
    return out;
  }

private:
  // "=" is an exact match: without it tmux takes the beginning of another name, too.
  std::string target() const { return "=" + o_.session + ":"; }

  tmux_words base() const { return {"tmux", "-u", "-S", socket_, "-f", "/dev/null"}; }

  result<transfer::outcome> tmux(const tmux_words& call) const {
    transfer::program p;
    p.argv = base();
    append(p.argv, call);
    p.limit = tmux_limit;
    return transfer::run_program(p);
  }

  result<void> must(const tmux_words& call) const {
    auto ran = tmux(call);
    if (!ran) return ran.err();
    if (!ran->good()) return make_error(errc::io, "tmux", ran->err.substr(0, 500));
    return {};
  }

  /// The commands that make one window: its first pane, then a split and a layout for each other.
  tmux_words window(std::size_t number) const {
    auto first = number * panes_per_window;
    auto end = std::min(first + panes_per_window, o_.panes.size());
    auto name = o_.panes[first].name + (end - first > 1 ? "-" + o_.panes[end - 1].name : "");
    auto where = target() + std::to_string(number);
    tmux_words out;
    if (number == 0) {
      append(out, {"new-session", "-d", "-s", o_.session, "-x", std::to_string(screen_columns),
                   "-y", std::to_string(screen_rows), "-n", name});
      append(out, viewer(first));
      append(out, settings());
    } else {
      append(out, {"new-window", "-d", "-t", where, "-n", name});
      append(out, viewer(first));
    }
    append(out, named(where, 0, first));
    for (auto i = first + 1; i < end; ++i) {
      auto last = where + "." + std::to_string(i - first - 1);
      append(out, {";", "split-window", "-d", "-t", last});
      append(out, viewer(i));
      append(out, {";", "select-layout", "-t", where, "tiled"});
      append(out, named(where, i - first, i));
    }
    return out;
  }

  tmux_words viewer(std::size_t pane) const {
    return {"--", program_, "view", "--dir", o_.panes[pane].dir, "--detach-key", "0"};
  }

  tmux_words named(const std::string& where, std::size_t index, std::size_t pane) const {
    return {";",     "set-option",       "-p", "-t", where + "." + std::to_string(index),
            "@name", o_.panes[pane].name};
  }

  // An agent that has ended stays to be seen. What a pane writes names no window, fills no
  // clipboard and reaches no terminal around tmux.
  static tmux_words settings() {
    tmux_words out;
    for (const auto& [name, value] :
         std::vector<std::pair<const char*, const char*>>{{"remain-on-exit", "on"},
                                                          {"pane-border-status", "top"},
                                                          {"pane-border-format", " #{@name} "},
                                                          {"allow-rename", "off"},
                                                          {"set-clipboard", "off"},
                                                          {"allow-passthrough", "off"},
                                                          {"escape-time", "0"},
                                                          {"history-limit", "2000"}})
      append(out, {";", "set-option", "-gq", name, value});
    return out;
  }

  const windows_options& o_;
  std::string folder_, socket_, shows_, program_;
};

} // namespace

result<shown_pane> parse_shown_pane(std::string_view text) {
  auto colon = text.find(':');
  shown_pane out;
  if (colon != text.npos)
    out = {std::string{text.substr(0, colon)}, std::string{text.substr(colon + 1)}};
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (out.name.empty() || !std::all_of(out.name.begin(), out.name.end(), plain)
      || !out.dir.starts_with('/') || std::count(out.dir.begin(), out.dir.end(), '/') < 4)
    return make_error(errc::bad_argument, "--pane wants NAME:DIR");
  return out;
}

result<json> make_windows(const windows_options& options) {
  if (auto e = check(options)) return e;
  session s{options};
  if (auto made = s.make(); !made) return made.err();
  json out = json::object();
  out["session"] = options.session;
  out["socket"] = s.socket();
  out["windows"] = s.windows();
  out["panes"] = options.panes.size();
  return out;
}

error show_windows(const windows_options& options) {
  if (auto made = make_windows(options); !made) return made.err();
  ::unsetenv("TMUX"); // a client inside another one is meant
  auto argv = session{options}.client();
  std::vector<char*> raw;
  for (auto& a : argv)
    raw.push_back(a.data());
  raw.push_back(nullptr);
  ::execvp(raw[0], raw.data());
  return transfer::io_error("tmux", errno);
}

} // namespace skep::guest
