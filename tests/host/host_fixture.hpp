// A running skep-host with real sandboxes, and a client that speaks to it byte by byte.
#pragma once

#include "host/posix.hpp"
#include "host/spec.hpp"
#include "messages/json.hpp"
#include "tests/envd/envd_fixture.hpp"
#include "tests/envd/raw_http.hpp"
#include "tests/support/catch.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <spawn.h>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <vector>

namespace skep::test {

using host::string_map;

inline std::string program(const std::string& name) {
  const char* bin = std::getenv("SKEP_BIN");
  return (bin ? std::string{bin} : std::string{"bin"}) + "/" + name;
}

/// A handle that becomes readable when the process ends.
inline host::unique_fd process_handle(int pid) {
  return host::unique_fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
}
inline bool ends_in_time(const host::unique_fd& handle) {
  pollfd p{handle.get(), POLLIN, 0};
  return !handle || ::poll(&p, 1, patience_ms) == 1;
}
inline bool lives(int pid) {
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

/// Asks again and again, each time a round trip, until `done` or the deadline.
inline bool until(const std::function<bool()>& done) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{patience_ms};
  while (!done())
    if (std::chrono::steady_clock::now() > end) return false;
  return true;
}

/// A state directory that the service user can reach; at the end every holder in it is told to
/// kill.
class host_state {
public:
  explicit host_state(std::string name = "st") : path_(dir_ / name) {
    ::chmod(dir_.path().c_str(), 0755);
  }
  ~host_state() {
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(path_ + "/holders", ec)) {
      try {
        auto c = raw_connection::to_unix(entry.path().string() + "/ctl.sock");
        c.send("{\"op\":\"kill\"}\n");
        c.take_through("\n");
      } catch (const std::exception&) {
        continue; // it is dead already
      }
    }
  }
  const std::string& path() const { return path_; }
  temp_dir& dir() { return dir_; }
  bool empty() const {
    std::error_code ec;
    return std::filesystem::is_empty(path_ + "/holders", ec)
           && std::filesystem::is_empty(path_ + "/sandboxes", ec);
  }

private:
  temp_dir dir_;
  std::string path_;
};

struct sandbox {
  std::string id, token;
  bool ok() const { return !id.empty(); }
};

class host_process {
public:
  /// Starts and waits until it serves.
  explicit host_process(const host_state& state, std::vector<std::string> more = {},
                        bool insecure = true) {
    std::vector<std::string> args{program("skep-host"), "--listen", "127.0.0.1:0", "--state",
                                  state.path()};
    if (insecure) args.push_back("--insecure-loopback");
    args.insert(args.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (auto& x : args)
      argv.push_back(x.data());
    argv.push_back(nullptr);
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) give_up("pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    int code = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    if (code != 0) give_up("cannot start skep-host");
    raw_line(out[0]);
    ::close(out[0]);
  }
  ~host_process() { stop(SIGKILL); }
  host_process(const host_process&) = delete;
  host_process& operator=(const host_process&) = delete;

  /// Ends it and returns its exit status as waitpid gives it.
  int stop(int signal) {
    if (pid_ <= 0) return status_;
    ::kill(pid_, signal);
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status_;
  }
  /// Without a "serving" line: the status it ended with.
  bool serving() const { return port_ > 0; }
  int pid() const { return pid_; }
  int port() const { return port_; }
  const json& announced() const { return announced_; }
  int await_exit() { return stop(0); }

  raw_connection connect() const { return raw_connection::to_port(port_); }
  static std::string text(const std::string& method, const std::string& target,
                          const std::string& body, const string_map& headers) {
    auto out = method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    for (const auto& [name, value] : headers)
      out += name + ": " + value + "\r\n";
    if (!body.empty() || method == "POST")
      out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return out + "\r\n" + body;
  }
  answer call(const std::string& method, const std::string& target, const std::string& body = {},
              const string_map& headers = {}) const {
    auto c = connect();
    c.send(text(method, target, body, headers));
    return c.read_answer(method == "HEAD");
  }
  sandbox create(const json& more = json::object()) const {
    json body = {{"templateID", "base"}, {"timeout", 120}};
    body.update(more);
    auto a = call("POST", "/v2/sandboxes", body.dump());
    INFO(a.first_line << " " << a.body);
    CHECK(a.status == 201);
    if (a.status != 201) return {};
    auto j = json::parse(a.body);
    return {j.at("sandboxID").get<std::string>(), j.at("envdAccessToken").get<std::string>()};
  }
  static string_map to(const sandbox& s) {
    return {{"E2b-Sandbox-Id", s.id}, {"E2b-Sandbox-Port", "49983"}, {"X-Access-Token", s.token}};
  }
  answer envd(const sandbox& s, const std::string& method, const std::string& target,
              const std::string& body = {}) const {
    return call(method, target, body, to(s));
  }
  /// Starts `script` in the sandbox; its events can be read from what is returned.
  event_stream start(const sandbox& s, const std::string& script) const {
    json request = {{"process", {{"cmd", "/bin/bash"}, {"args", {"-c", script}}}},
                    {"stdin", false}};
    auto headers = to(s);
    headers["Content-Type"] = "application/connect+json";
    headers["Connect-Protocol-Version"] = "1";
    auto c = connect();
    c.send(text("POST", "/process.Process/Start", make_envelope(request.dump()), headers));
    auto head = c.read_header();
    return {std::move(c), head};
  }
  /// Runs `script` to its end and returns its standard output.
  std::string run(const sandbox& s, const std::string& script) const {
    auto stream = start(s, script);
    stream.finish();
    return stream.out;
  }

private:
  void raw_line(int fd) {
    std::string line;
    char c = 0;
    pollfd p{fd, POLLIN, 0};
    while (::poll(&p, 1, patience_ms) == 1 && ::read(fd, &c, 1) == 1 && c != '\n')
      line += c;
    if (line.empty()) return;
    announced_ = json::parse(line);
    auto url = announced_.at("url").get<std::string>();
    port_ = std::stoi(url.substr(url.rfind(':') + 1));
  }

  pid_t pid_ = -1;
  int status_ = 0;
  int port_ = 0;
  json announced_;
};

/// Answer's body as JSON; null when it is none.
inline json body_of(const answer& a) {
  return json::parse(a.body, nullptr, false);
}

} // namespace skep::test
