#include "guest/control.hpp"

#include "guest/parse_number.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace skep::guest {
namespace {

constexpr std::chrono::seconds ask_limit{20};

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at <= line.size();) {
    auto end = std::min(line.find(' ', at), line.size());
    out.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

result<json> state_of(result<std::string> reply) {
  if (!reply) return reply.err();
  if (reply->starts_with("error "))
    return make_error(errc::remote_command_failed, reply->substr(6));
  json out = json::object();
  out["state"] = *reply;
  return out;
}

/// A start that comes after its kill starts nothing: `dir` is claimed, and its agent has ended.
result<void> bar_start(const std::string& dir) {
  if (look(dir) != pane_state::absent) return {};
  ::umask(0077);
  if (auto made = transfer::make_dirs(dir); !made) return made.err();
  unique_fd lock;
  auto ours = claim(dir, 0, lock);
  if (!ours) return ours.err();
  if (!*ours) return {}; // its start was quicker
  return write_exit(dir, {-1, SIGKILL, 0, now()});
}

} // namespace

bool valid_key(std::string_view key) {
  return !key.empty() && key.size() <= 128 && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.'
           || c == '_' || c == ':' || c == '-';
  });
}

result<control_request> parse_control(std::string_view line) {
  auto bad = make_error(errc::bad_frame, "not a request of the pane's control socket");
  auto w = words(line);
  control_request out;
  if (w[0] == "input" && w.size() == 3) {
    if (!valid_key(w[1]) || !parse_number(w[2], out.length) || out.length > max_input_bytes)
      return bad;
    out.key = w[1];
    return out;
  }
  if (w[0] == "close" && w.size() == 2 && valid_key(w[1])) {
    out.what = control_request::verb::close;
    out.key = w[1];
    return out;
  }
  if (w[0] == "signal" && w.size() == 2) {
    out.what = control_request::verb::signal;
    out.signal = w[1] == "INT"    ? SIGINT
                 : w[1] == "TERM" ? SIGTERM
                 : w[1] == "KILL" ? SIGKILL
                 : w[1] == "STOP" ? SIGSTOP
                 : w[1] == "CONT" ? SIGCONT
                                  : 0;
    if (!out.signal) return bad;
    return out;
  }
  if (w[0] == "resize" && w.size() == 3) {
    out.what = control_request::verb::resize;
    if (!parse_number(w[1], out.columns) || !parse_number(w[2], out.rows) || !out.columns
        || !out.rows)
      return bad;
    return out;
  }
  return bad;
}

result<sockaddr_un> control_address(const std::string& dir, unique_fd& dir_fd) {
  dir_fd = unique_fd{::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!dir_fd) return transfer::io_error(dir, errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  auto path = dir + "/control.sock";
  if (path.size() >= sizeof address.sun_path)
    path = "/proc/self/fd/" + std::to_string(dir_fd.get()) + "/control.sock";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

result<std::string> ask_holder(const std::string& dir, const std::string& line,
                               std::string_view data, std::chrono::milliseconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  auto ended = [&]() -> result<std::string> {
    auto state = look(dir);
    if (state == pane_state::exited || state == pane_state::lost) return std::string{"exited"};
    if (state == pane_state::absent) return make_error(errc::not_found, "no pane in " + dir);
    return make_error(errc::io, "the pane's holder does not answer in " + dir);
  };
  unique_fd dir_fd;
  auto address = control_address(dir, dir_fd);
  if (!address) return ended();
  unique_fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!fd) return transfer::io_error("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0)
    return ended();
  auto out = line + "\n" + std::string{data};
  std::string reply;
  std::string_view rest{out};
  for (;;) {
    pollfd p{fd.get(), static_cast<short>(POLLIN | (rest.empty() ? 0 : POLLOUT)), 0};
    int n = ::poll(&p, 1, transfer::ms_until(deadline));
    if (n < 0 && errno != EINTR) return transfer::io_error("poll", errno);
    if (n <= 0) {
      if (transfer::ms_until(deadline) > 0) continue;
      return make_error(errc::timed_out, "the pane's holder in " + dir);
    }
    if (p.revents & POLLOUT) {
      auto sent = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
      std::array<char, 1024> buffer;
      auto got = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got > 0) reply.append(buffer.data(), static_cast<std::size_t>(got));
      if (auto end = reply.find('\n'); end != reply.npos) return reply.substr(0, end);
      if (got <= 0) return ended();
    }
  }
}

result<json> send_input(const std::string& dir, const std::string& key, std::string_view data,
                        bool end_of_input) {
  if (!valid_key(key)) return make_error(errc::bad_argument, "not a key: " + key);
  if (data.size() > max_input_bytes)
    return make_error(errc::too_large, "input of " + std::to_string(data.size()) + " bytes");
  if (end_of_input) {
    if (!data.empty()) {
      auto sent = send_input(dir, key + ":data", data, false);
      if (!sent || (*sent)["state"] == "exited" || (*sent)["state"] == "no_input") return sent;
    }
    return state_of(ask_holder(dir, "close " + key, {}, ask_limit));
  }
  return state_of(
      ask_holder(dir, "input " + key + " " + std::to_string(data.size()), data, ask_limit));
}

result<json> send_signal(const std::string& dir, const std::string& name) {
  if (name == "KILL")
    if (auto barred = bar_start(dir); !barred) return barred.err();
  return state_of(ask_holder(dir, "signal " + name, {}, ask_limit));
}

result<json> send_resize(const std::string& dir, unsigned columns, unsigned rows) {
  return state_of(ask_holder(dir, "resize " + std::to_string(columns) + " " + std::to_string(rows),
                             {}, ask_limit));
}

} // namespace skep::guest
