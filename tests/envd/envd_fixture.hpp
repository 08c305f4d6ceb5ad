// A running skep-envd and a client that speaks its protocol byte by byte.
#pragma once

#include "messages/json.hpp"
#include "tests/envd/raw_http.hpp"

#include <fcntl.h>
#include <optional>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <vector>

namespace skep::test {

/// Flags and payload of one envelope.
struct enveloped {
  int flags = 0;
  std::string payload;
  json value() const { return json::parse(payload); }
};

inline std::string make_envelope(std::string_view payload) {
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8)
    out += static_cast<char>(payload.size() >> shift & 0xff);
  return out.append(payload);
}

/// A streaming RPC in progress.
class event_stream {
public:
  event_stream(raw_connection c, const answer& head) : c_(std::move(c)), head_(head) {}
  const answer& head() const { return head_; }
  raw_connection& connection() { return c_; }
  /// The next envelope; nothing when the body has ended.
  std::optional<enveloped> next() {
    while (buffer_.size() < 5 || buffer_.size() - 5 < size())
      if (auto piece = c_.next_piece())
        buffer_ += *piece;
      else if (buffer_.empty())
        return std::nullopt;
      else
        give_up("the stream ends within an envelope");
    enveloped one{static_cast<unsigned char>(buffer_[0]), buffer_.substr(5, size())};
    raw_ += buffer_.substr(0, 5 + one.payload.size());
    buffer_.erase(0, 5 + one.payload.size());
    return one;
  }
  /// The next event, which must be there and be no keepalive.
  json event() {
    auto e = next();
    if (!e || e->flags != 0) give_up("an event was expected");
    return e->value().at("event");
  }
  int pid() { return event().at("start").at("pid").get<int>(); }
  /// Bytes of all envelopes so far.
  const std::string& raw() const { return raw_; }

  /// Reads to the end.
  void finish() {
    while (auto e = next()) {
      if (e->flags == 2) {
        end_of_stream = e->payload;
        continue;
      }
      auto event = e->value().at("event");
      if (event.contains("start")) started = event["start"].at("pid").get<int>();
      if (event.contains("end")) end = event["end"];
      if (!event.contains("data")) continue;
      for (auto& [name, text] : event["data"].items()) {
        std::string bytes;
        if (!base64_decode(text.get<std::string>(), bytes)) give_up("data is no base64");
        largest = std::max(largest, bytes.size());
        (name == "stderr" ? err : name == "pty" ? pty : out) += bytes;
      }
    }
  }
  std::string out, err, pty;
  std::size_t largest = 0;
  int started = 0;
  json end;
  std::string end_of_stream;

private:
  std::size_t size() const {
    std::size_t n = 0;
    for (std::size_t i = 1; i < 5; ++i)
      n = n << 8 | static_cast<unsigned char>(buffer_[i]);
    return n;
  }
  raw_connection c_;
  answer head_;
  std::string buffer_;
  std::string raw_;
};

class envd_process {
public:
  explicit envd_process(json config = json::object(), std::vector<std::string> more = {}) {
    std::filesystem::create_directory(dir / "home");
    if (!config.contains("accessToken")) config["accessToken"] = "tok_envd";
    config["defaultWorkdir"] = dir / "home";
    int listening = listen_unix(dir / "s");
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) give_up("pipe");
    auto text = config.dump();
    if (::write(ends[1], text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      give_up("write");
    ::close(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    // Out of the way first: the descriptors may themselves be 3 and 4.
    int high_listening = ::fcntl(listening, F_DUPFD_CLOEXEC, 20);
    int high_config = ::fcntl(ends[0], F_DUPFD_CLOEXEC, 20);
    posix_spawn_file_actions_adddup2(&actions, high_listening, 3);
    posix_spawn_file_actions_adddup2(&actions, high_config, 4);
    auto program = std::string{std::getenv("SKEP_BIN")} + "/skep-envd";
    std::vector<std::string> words{program, "--listen-fd", "3", "--config-fd", "4"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (auto& w : words)
      argv.push_back(w.data());
    argv.push_back(nullptr);
    auto home = "HOME=" + (dir / "home");
    std::string path = "PATH=/usr/local/bin:/usr/bin:/bin";
    char* environment[] = {home.data(), path.data(), nullptr};
    if (::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environment) != 0)
      give_up("cannot start " + program);
    posix_spawn_file_actions_destroy(&actions);
    for (int fd : {listening, ends[0], high_listening, high_config})
      ::close(fd);
  }
  ~envd_process() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  envd_process(const envd_process&) = delete;
  envd_process& operator=(const envd_process&) = delete;

  raw_connection connect() const { return raw_connection::to_unix(dir / "s"); }

  std::string head(const std::string& line, const std::string& headers) const {
    return line + " HTTP/1.1\r\nHost: x\r\n"
           + (token.empty() ? "" : "X-Access-Token: " + token + "\r\n") + headers;
  }
  answer request(const std::string& method, const std::string& target,
                 const std::string& headers = {}, std::string_view body = {}) const {
    auto c = connect();
    auto text = head(method + ' ' + target, headers);
    if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    c.send(text + "\r\n");
    c.try_send(body);
    return c.read_answer(method == "HEAD");
  }
  answer unary(const std::string& method, const json& message,
               const std::string& headers = {}) const {
    return request("POST", "/" + method, headers + "Content-Type: application/json\r\n",
                   message.dump());
  }
  event_stream stream(const std::string& method, const json& message,
                      const std::string& headers = {}) const {
    auto c = connect();
    auto body = make_envelope(message.dump());
    c.send(head("POST /process.Process/" + method, headers)
           + "Content-Type: application/connect+json\r\nContent-Length: "
           + std::to_string(body.size()) + "\r\n\r\n" + body);
    auto h = c.read_header();
    return event_stream(std::move(c), h);
  }
  event_stream start(const json& message, const std::string& headers = {}) const {
    return stream("Start", message, headers);
  }
  /// Runs `script` in a shell, to its end.
  event_stream shell(const std::string& script, const std::string& headers = {}) const {
    auto s = start({{"process", {{"cmd", "/bin/sh"}, {"args", {"-c", script}}}}, {"stdin", false}},
                   headers);
    s.finish();
    return s;
  }

  temp_dir dir;
  std::string token = "tok_envd";

private:
  pid_t pid_ = -1;
};

inline json selector(int pid) {
  return {{"pid", pid}};
}

} // namespace skep::test
