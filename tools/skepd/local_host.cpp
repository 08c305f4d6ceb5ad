#include "tools/skepd/local_host.hpp"

#include "tools/skepd/json_log.hpp"

#include "messages/json.hpp"
#include "messages/release.hpp"
#include "transfer/sha256.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <future>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::tools {
namespace {

namespace fs = std::filesystem;
constexpr const char* idle_exit_seconds = "900";

// Starts argv in a session of its own, detached from us: standard output is `out`, standard error
// goes to `log`. Only async-signal-safe calls between fork and exec: skepd has many threads.
result<void> start_detached(const std::vector<std::string>& argv,
                            const std::vector<std::string>& env, int out, const fs::path& log) {
  std::vector<char*> args, vars;
  for (const auto& a : argv)
    args.push_back(const_cast<char*>(a.c_str()));
  args.push_back(nullptr);
  for (const auto& v : env)
    vars.push_back(const_cast<char*>(v.c_str()));
  vars.push_back(nullptr);
  auto log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  auto null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (log_fd < 0 || null_fd < 0)
    return make_error(errc::io, "cannot open " + log.string(), std::strerror(errno));
  auto child = ::fork();
  if (child == 0) {
    ::setsid();
    auto second = ::fork();
    if (second != 0) ::_exit(second < 0 ? 1 : 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::dup2(null_fd, 0);
    ::dup2(out, 1);
    ::dup2(log_fd, 2);
    if (::chdir("/") != 0) ::_exit(1);
    ::execve(args[0], args.data(), vars.data());
    ::_exit(127);
  }
  auto reason = errno;
  ::close(log_fd);
  ::close(null_fd);
  if (child < 0) return make_error(errc::host_failed, "cannot fork", std::strerror(reason));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {};
}

// The text of a small file where a service user may have put anything: no link is followed,
// nothing is waited for (a FIFO, say), and what is no file, or a larger one, is as good as none.
std::string foreign_file(const fs::path& file) {
  constexpr std::size_t most_bytes = 64 * 1024;
  auto fd = ::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return {};
  std::string text;
  struct stat s {};
  if (::fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) {
    char block[4096];
    while (text.size() <= most_bytes) {
      auto n = ::read(fd, block, sizeof block);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      text.append(block, static_cast<std::size_t>(n));
    }
  }
  ::close(fd);
  return text.size() <= most_bytes ? text : std::string{};
}

// Whether it is what our hosts announce, which listen here alone. The key goes there.
bool is_host_url(std::string_view url) {
  constexpr std::string_view begin = "http://127.0.0.1:";
  if (!url.starts_with(begin)) return false;
  auto port = url.substr(begin.size());
  return !port.empty() && port.size() <= 5
         && port.find_first_not_of("0123456789") == std::string_view::npos;
}

// What a host says of itself; null when the file is missing or says something else.
json read_ready(const fs::path& file) {
  auto j = json::parse(foreign_file(file), nullptr, false);
  auto good = j.is_object() && j.contains("url") && j["url"].is_string()
              && is_host_url(j["url"].get<std::string>()) && j.contains("pid")
              && j["pid"].is_number_integer() && (!j.contains("tag") || j["tag"].is_string());
  return good ? j : json{};
}

// Where the former host listened: the next one takes the same port, so that clients find it again.
std::string former_address(const fs::path& ready_file) {
  auto ready = read_ready(ready_file);
  return ready.is_object() ? ready.value("url", std::string{}).substr(7) : "127.0.0.1:0";
}

// One line from `fd`, or what there was before its end or the deadline.
std::string read_line(int fd, std::chrono::steady_clock::time_point deadline) {
  std::string text;
  while (text.find('\n') == std::string::npos && text.size() < 4096) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd p{fd, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) <= 0) break;
    char block[512];
    auto n = ::read(fd, block, sizeof block);
    if (n <= 0) break;
    text.append(block, static_cast<std::size_t>(n));
  }
  return text;
}

std::string tail_of(const fs::path& file, std::size_t bytes) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return {};
  auto size = static_cast<std::size_t>(in.tellg());
  in.seekg(static_cast<std::streamoff>(size > bytes ? size - bytes : 0));
  return {std::istreambuf_iterator<char>(in), {}};
}

// The host renders its errors as "skep-host: CODE: ...": the code is kept.
error host_error(const std::string& log) {
  auto at = log.rfind("skep-host: ");
  if (at != std::string::npos) {
    auto text = log.substr(at + 11);
    text = text.substr(0, text.find('\n'));
    text = text.substr(0, text.find(" | Hint: "));
    for (const auto& e : all_errors())
      if (text.starts_with(std::string{e.name} + ":")) return make_error(e.code, {}, text);
  }
  return make_error(errc::host_failed, {}, log.substr(log.size() > 500 ? log.size() - 500 : 0));
}

// Everything that a host is started with and a sandbox notices.
std::string fingerprint(const config& settings) {
  json j{{"version", std::string{release_version}},
         {"bind", settings.local_bind},
         {"upstream", json::object()}};
  for (const auto& [domain, url] : settings.local_upstream)
    j["upstream"][domain] = url;
  if (!settings.local_prices.empty()) j["prices"] = settings.local_prices;
  return transfer::sha256_of(to_line(j)).substr(0, 16);
}

// Whether `pid` is a skep-host on this directory, as its command line says: pids are used again.
bool is_host_of(std::int64_t pid, const fs::path& host_dir) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto holds = [&](const std::string& word) {
    return ('\0' + text).find('\0' + word + '\0') != std::string::npos;
  };
  auto program = text.substr(0, text.find('\0'));
  return fs::path{program}.filename() == "skep-host" && holds("--state")
         && holds(host_dir.string());
}

} // namespace

local_host::local_host(fs::path state_root, std::string install_id, config settings,
                       fs::path programs, std::shared_ptr<sandbox::http_engine> engine,
                       local_host_policy policy, fs::path host_dir)
    : own_dir_(state_root / "host"),
      host_dir_(!host_dir.empty()  ? std::move(host_dir)
                : ::geteuid() == 0 ? fs::path{"/var/lib/skep-host"} / install_id
                                   : own_dir_ / "state"),
      settings_(std::move(settings)), tag_(fingerprint(settings_)), programs_(std::move(programs)),
      engine_(std::move(engine)), policy_(policy) {}

result<std::shared_ptr<sandbox::api>> local_host::connect() {
  std::lock_guard guard{mutex_};
  if (auto replaced = replace_outdated(); !replaced) return replaced.err();
  if (auto running = try_running(); running.ok()) return running;
  if (auto started = start(); !started) return started.err();
  return try_running();
}

// A directory for each holder, which it removes last (host/state.cpp). One that cannot be read may
// have some.
bool local_host::may_hold() const {
  std::error_code ec;
  fs::directory_iterator holders{host_dir_ / "holders", ec};
  if (ec) return ec != std::errc::no_such_file_or_directory;
  return holders != fs::directory_iterator{};
}

// The key is the host's and ours alone; made once, 0600.
result<std::string> local_host::key() {
  auto file = own_dir_ / "key";
  std::string text;
  if (std::ifstream in{file}) std::getline(in, text);
  if (!text.empty()) return text;
  std::error_code ec;
  fs::create_directories(own_dir_, ec);
  text = "e2b_";
  static constexpr char hex[] = "0123456789abcdef";
  for (char c : random_token(40))
    text.push_back(hex[static_cast<unsigned char>(c) % 16]);
  auto fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  auto line = text + "\n";
  auto good = fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (fd >= 0) ::close(fd);
  if (!good) return make_error(errc::io, "cannot write " + file.string(), std::strerror(errno));
  return text;
}

// Ends a host with other settings; start() then takes its place, at its address.
result<void> local_host::replace_outdated() {
  auto ready = read_ready(host_dir_ / "ready.json");
  if (!ready.is_object() || ready.value("tag", std::string{}) == tag_) return {};
  auto pid = ready.value("pid", std::int64_t{0});
  if (pid <= 1) return {};
  auto process = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
  if (process < 0) return {}; // gone
  error failure;
  if (is_host_of(pid, host_dir_)) {
    log_line(log_level::info, "local_host", "host.replacing",
             {{"pid", pid}, {"why", "its settings or its release are others"}});
    successor_of_ = former_address(host_dir_ / "ready.json"); // the file goes with that host
    pollfd ended{process, POLLIN, 0};
    if (::syscall(SYS_pidfd_send_signal, process, SIGTERM, nullptr, 0) != 0 && errno != ESRCH)
      failure = make_error(errc::host_failed, "cannot end process " + std::to_string(pid),
                           std::strerror(errno));
    else if (::poll(&ended, 1, static_cast<int>(policy_.end.count())) != 1)
      failure = make_error(errc::host_failed, "process " + std::to_string(pid)
                                                  + " has other settings and does not end");
  }
  ::close(process);
  if (failure) return failure;
  return {};
}

result<std::shared_ptr<sandbox::api>> local_host::try_running() {
  auto secret = key();
  if (!secret) return secret.err();
  auto ready = read_ready(host_dir_ / "ready.json");
  if (!ready.is_object())
    return make_error(errc::host_failed, "skep-host has not written its address");
  auto url = ready.value("url", std::string{});
  if (!api_ || url_ != url) {
    sandbox::endpoint where;
    where.name = "local";
    where.api_url = url;
    where.sandbox_url = url;
    where.api_key = *secret;
    api_ = std::make_shared<sandbox::client>(engine_, std::move(where));
    url_ = url;
  }
  auto answer = std::make_shared<std::promise<error>>();
  auto future = answer->get_future();
  sandbox::list_filter nothing;
  nothing.metadata = {{"skep.install", "probe"}};
  api_->list(std::move(nothing), [answer](result<std::vector<sandbox::listed>> r) {
    answer->set_value(r.ok() ? error{} : r.err());
  });
  if (future.wait_for(policy_.answer) != std::future_status::ready)
    return make_error(errc::host_failed, "skep-host does not answer");
  if (auto e = future.get()) return e;
  return api_;
}

// Its lock says so (host/state.hpp), which goes with its process. Ours is shared and given back at
// once, also for a child that another thread forks meanwhile.
bool local_host::host_lives() const {
  auto fd =
      ::open((host_dir_ / "host.lock").c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  auto taken = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (!taken) ::flock(fd, LOCK_UN);
  ::close(fd);
  return taken;
}

std::optional<result<void>> local_host::await_living(time_point deadline) const {
  while (host_lives()) {
    if (read_ready(host_dir_ / "ready.json").is_object()) return result<void>{};
    if (std::chrono::steady_clock::now() >= deadline)
      return result<void>{
          make_error(errc::host_failed, "it lives, but has not said where it serves")};
    // sleep: it may say where it serves or end, and nothing tells of both
    ::poll(nullptr, 0, static_cast<int>(policy_.look.count()));
  }
  return {};
}

result<void> local_host::start() {
  const auto deadline = std::chrono::steady_clock::now() + policy_.start;
  if (auto living = await_living(deadline)) return *living;
  auto address = successor_of_.empty() ? former_address(host_dir_ / "ready.json")
                                       : std::exchange(successor_of_, {});
  auto started = start_at(address, deadline);
  if (started) return started;
  if (auto living = await_living(deadline)) return *living; // the one just started, or another one
  if (address != "127.0.0.1:0" && started.err().code != errc::no_isolation)
    return start_at("127.0.0.1:0", deadline); // somebody else may have taken the port
  return started;
}

result<void> local_host::start_at(const std::string& address, time_point deadline) {
  api_.reset();
  auto program = programs_ / "skep-host";
  if (::access(program.c_str(), X_OK) != 0)
    return make_error(errc::program_missing, program.string());
  // The host would refuse it, too, but knows neither file nor line.
  if (auto e = check_local_bind(settings_, own_dir_.parent_path())) return e;
  std::error_code ec;
  // A service user must be able to pass through the parent, whatever our umask is.
  if (fs::create_directories(host_dir_.parent_path(), ec) && ::geteuid() == 0)
    fs::permissions(host_dir_.parent_path(), static_cast<fs::perms>(0711), ec);
  // What a dead host left leads nowhere. One that came meanwhile keeps its own.
  if (!host_lives()) fs::remove(host_dir_ / "ready.json", ec);
  std::vector<std::string> argv = {program.string(),
                                   "--listen",
                                   address,
                                   "--state",
                                   host_dir_.string(),
                                   "--key-file",
                                   (own_dir_ / "key").string(),
                                   "--ready-file",
                                   (host_dir_ / "ready.json").string(),
                                   "--tag",
                                   tag_,
                                   "--idle-exit",
                                   idle_exit_seconds};
  for (const auto& path : settings_.local_bind) {
    argv.push_back("--bind");
    argv.push_back(path);
  }
  for (const auto& [domain, url] : settings_.local_upstream) {
    argv.push_back("--gateway-upstream");
    argv.push_back(domain + "=" + url);
  }
  for (const auto& [model, price] : settings_.local_prices) {
    argv.push_back("--price");
    argv.push_back(model + "=" + price);
  }
  std::vector<std::string> env = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return make_error(errc::io, "pipe", std::strerror(errno));
  auto log = own_dir_ / "host.log";
  auto started = start_detached(argv, env, ends[1], log);
  ::close(ends[1]);
  auto line = started.ok() ? read_line(ends[0], deadline) : std::string{};
  ::close(ends[0]);
  if (!started) return started;
  if (line.find('\n') == std::string::npos) return host_error(tail_of(log, 4096));
  return {};
}

} // namespace skep::tools
