// A scripted server, an engine and a client that know each other, and the bytes of envd's streams.
#pragma once

#include "messages/json.hpp"
#include "sandbox/client.hpp"
#include "sandbox/envelope.hpp"
#include "tests/sandbox/await.hpp"
#include "tests/sandbox/script_server.hpp"

#include <fstream>
#include <iterator>

namespace skep::sandbox::test {

using namespace std::chrono_literals;

using peer = script_server::peer;
using request = script_server::request;

inline const remote box{"ibox1", "tok-1", ""};
inline const std::string key = "e2b_00aa";

/// A server, an engine and a client that know each other.
struct fixture {
  explicit fixture(script_server::handler h, policy limits = quick())
      : server(std::move(h)), engine(std::make_shared<http_engine>()),
        api(engine, {"test", server.url(), server.url(), "", key}, limits) {}

  /// Short waits where a test makes something wait.
  static policy quick() {
    policy p;
    p.retry_backoff = 20ms;
    return p;
  }

  script_server server;
  std::shared_ptr<http_engine> engine;
  client api;
};

inline void gone(peer& p) {
  p.answer(502, R"({"sandboxId":"ibox1","message":"The sandbox was not found","code":502})");
}

inline std::string start_event(int pid) {
  return make_envelope("{\"event\":{\"start\":{\"pid\":" + std::to_string(pid) + "}}}");
}
inline std::string data_event(std::string_view bytes, const char* name = "stdout") {
  return make_envelope(std::string{"{\"event\":{\"data\":{\""} + name + "\":\""
                       + base64_encode(bytes) + "\"}}}");
}
inline std::string end_event(int code) {
  auto more = code ? "\"exitCode\":" + std::to_string(code) + "," : std::string{};
  return make_envelope("{\"event\":{\"end\":{" + more + "\"exited\":true,\"status\":\"exit status "
                       + std::to_string(code) + "\"}}}");
}
inline std::string last(std::string_view payload = "{}") {
  auto out = make_envelope(payload);
  out[0] = 2;
  return out;
}

/// A whole stream as one body.
inline void stream(peer& p, std::string_view body) {
  p.begin_chunks(200, {"Content-Type: application/connect+json"});
  p.chunk(body);
  p.end_chunks();
}

inline command argv(std::vector<std::string> words) {
  command c;
  c.argv = std::move(words);
  return c;
}

/// A directory of its own, removed at the end.
struct scratch {
  scratch() {
    std::string name = std::filesystem::temp_directory_path() / "skep-client-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~scratch() { std::filesystem::remove_all(path); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{path}, {}));
  }
  std::filesystem::path path;
};

inline std::string content_of(const std::filesystem::path& p) {
  std::ifstream in{p, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace skep::sandbox::test
