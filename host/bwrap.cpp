#include "host/bwrap.hpp"

#include "host/isolation.hpp"
#include "host/syscall_filter.hpp"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

namespace skep::host {
namespace {

constexpr int envd_listen_fd = 3;
constexpr int envd_config_fd = 4;
constexpr int first_data_fd = 5;

constexpr std::string_view passwd_text =
    "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "user:x:1000:1000:user:/home/user:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
constexpr std::string_view group_text = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n";
constexpr std::string_view nsswitch_text = "passwd: files\ngroup: files\nhosts: files dns\n";

// A file in memory, positioned at its start.
result<unique_fd> memory_file(const char* name, std::string_view data) {
  unique_fd fd{::memfd_create(name, MFD_CLOEXEC)};
  if (!fd) return system_error("memfd");
  if (auto r = write_all(fd.get(), data); !r) return r.err();
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

// A pipe that already holds all of `data`, so that nobody has to wait for a reader.
result<unique_fd> filled_pipe(std::string_view data) {
  auto pipe = make_pipe();
  if (!pipe) return pipe.err();
  if (data.size() > 65536
      && ::fcntl(pipe->write.get(), F_SETPIPE_SZ, static_cast<int>(data.size())) < 0)
    return make_error(errc::too_large, "the environment of the sandbox");
  ::fcntl(pipe->write.get(), F_SETFL, O_NONBLOCK);
  if (auto r = write_all(pipe->write.get(), data); !r) return r.err();
  return std::move(pipe->read);
}

json envd_config(const sandbox_order& order) {
  return {{"accessToken", order.access_token},
          {"envVars", order.env_vars},
          {"defaultUser", "user"},
          {"defaultWorkdir", "/home/user"},
          {"sandboxID", order.sandbox_id},
          {"templateID", order.template_id},
          {"gatewayPort", gateway_port},
          {"logEvents", true}};
}

// Builds the argument list; generated files are descriptors counted up from first_data_fd.
class arguments {
public:
  void add(std::initializer_list<std::string> words) {
    words_.insert(words_.end(), words.begin(), words.end());
  }
  void add(std::vector<std::string> words) {
    words_.insert(words_.end(), words.begin(), words.end());
  }
  // Hands `fd` over and returns the number that bubblewrap will see.
  std::string pass(unique_fd fd) {
    passed_.push_back(std::move(fd));
    return std::to_string(first_data_fd + static_cast<int>(passed_.size()) - 1);
  }
  result<void> generated(const std::string& path, std::string_view data) {
    auto file = memory_file("etc", data);
    if (!file) return file.err();
    add({"--perms", "0644", "--ro-bind-data", pass(std::move(*file)), path});
    return {};
  }
  std::vector<std::string>& words() { return words_; }
  std::vector<unique_fd>& passed() { return passed_; }

private:
  std::vector<std::string> words_;
  std::vector<unique_fd> passed_;
};

// What /proc tells of the kernel's key rings is told by user, and all sandboxes have one.
constexpr const char* hidden_in_proc[] = {"/proc/keys", "/proc/key-users"};

result<void> file_system(arguments& args, const sandbox_order& order, const sandbox_parts& parts,
                         const sandbox_limits& limits) {
  args.add({"--size", std::to_string(limits.shm_bytes), "--tmpfs", "/dev/shm"});
  args.add({"--size", std::to_string(limits.tmp_bytes), "--perms", "1777", "--tmpfs", "/tmp"});
  for (const char* path : hidden_in_proc)
    if (::access(path, F_OK) == 0) args.add({"--ro-bind", "/dev/null", path});
  args.add({"--dir", "/run", "--dir", "/var", "--symlink", "../tmp", "/var/tmp"});
  for (const char* path :
       {"/etc/alternatives", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates.conf",
        "/etc/ld.so.cache", "/etc/localtime", "/etc/protocols", "/etc/services", "/etc/mime.types"})
    args.add({"--ro-bind-try", path, path});
  for (const auto& [path, text] :
       {std::pair<std::string, std::string>{"/etc/passwd", std::string{passwd_text}},
        {"/etc/group", std::string{group_text}},
        {"/etc/nsswitch.conf", std::string{nsswitch_text}},
        {"/etc/hosts", "127.0.0.1 localhost " + order.sandbox_id + "\n::1 localhost\n"}})
    if (auto r = args.generated(path, text); !r) return r;
  // Those below the home are mounted upon it.
  std::vector<std::string> in_home;
  for (const auto& path : order.binds)
    if (path.starts_with("/home/user/"))
      in_home.insert(in_home.end(), {"--ro-bind", path, path});
    else
      args.add({"--ro-bind", path, path});
  args.add({"--ro-bind", order.envd_path, "/opt/skep/skep-envd"});
  if (!parts.gateway_dir.empty()) args.add({"--ro-bind", parts.gateway_dir, "/run/skep"});
  if (auto mb = order.limits.disk_mb; mb > 0)
    args.add({"--size", std::to_string(mb << 20), "--perms", "0700", "--tmpfs", "/home/user"});
  else
    args.add({"--bind", parts.home_dir, "/home/user"});
  args.add(std::move(in_home));
  args.add({"--remount-ro", "/"});
  return {};
}

struct spawn_plan {
  std::vector<char*> argv;
  std::vector<int> fds; // fds[i] becomes descriptor 3 + i
  int error_output;
  std::vector<int> cgroup_joins;
  rlim_t open_files;
  pid_t parent;
};

// Between fork and exec: only what is safe there.
[[noreturn]] void exec_sandbox(const spawn_plan& plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != plan.parent) ::_exit(125);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int s : {SIGPIPE, SIGCHLD, SIGHUP, SIGINT, SIGTERM})
    ::signal(s, SIG_DFL);
  for (int fd : plan.cgroup_joins)
    if (::write(fd, "0", 1) != 1) ::_exit(124); // a limit that was promised
  rlimit files{plan.open_files, plan.open_files};
  ::setrlimit(RLIMIT_NOFILE, &files);
  int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, 0);
  ::dup2(plan.error_output, 1);
  ::dup2(plan.error_output, 2);
  for (std::size_t i = 0; i < plan.fds.size(); ++i)
    ::dup2(plan.fds[i], 3 + static_cast<int>(i));
  ::close_range(3 + static_cast<unsigned>(plan.fds.size()), ~0U, 0);
  char path[] = "PATH=/usr/bin:/bin";
  char* environment[] = {path, nullptr};
  ::execve(plan.argv[0], plan.argv.data(), environment);
  ::_exit(127);
}

} // namespace

result<pid_t> start_sandbox(const sandbox_order& order, sandbox_parts parts,
                            const sandbox_limits& limits) {
  if (::getuid() == 0 || ::geteuid() == 0)
    return make_error(errc::no_isolation, "sandboxes never run as root");
  auto bwrap = find_bwrap();
  if (bwrap.empty()) return make_error(errc::no_isolation, "bubblewrap is not installed");
  auto config = filled_pipe(dump(envd_config(order)));
  if (!config) return config.err();

  arguments args;
  args.add(isolation_args());
  args.add({"--hostname", order.sandbox_id});
  if (auto r = file_system(args, order, parts, limits); !r) return r.err();
  if (!syscall_filter().empty()) {
    auto filter = memory_file("filter", syscall_filter());
    if (!filter) return filter.err();
    args.add({"--seccomp", args.pass(std::move(*filter))});
  }
  args.add({"--clearenv",
            "--setenv",
            "HOME",
            "/home/user",
            "--setenv",
            "USER",
            "user",
            "--setenv",
            "LOGNAME",
            "user",
            "--setenv",
            "SHELL",
            "/bin/bash",
            "--setenv",
            "LANG",
            "C.UTF-8",
            "--setenv",
            "PATH",
            "/usr/local/bin:/usr/bin:/bin",
            "--chdir",
            "/home/user"});
  std::string list;
  for (const auto& word : args.words())
    list.append(word).push_back('\0');
  auto list_file = memory_file("args", list);
  if (!list_file) return list_file.err();
  auto list_fd = args.pass(std::move(*list_file));

  std::vector<std::string> command{bwrap,
                                   "--args",
                                   list_fd,
                                   "--",
                                   "/opt/skep/skep-envd",
                                   "--listen-fd",
                                   std::to_string(envd_listen_fd),
                                   "--config-fd",
                                   std::to_string(envd_config_fd)};
  if (!parts.gateway_dir.empty())
    command.insert(command.end(), {"--gateway-socket", "/run/skep/gateway.sock"});

  // Sources are moved above every target first, so that no dup2 overwrites one still needed.
  spawn_plan plan{};
  std::vector<unique_fd> high;
  auto lift = [&](int fd) {
    high.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 64));
    return high.back().get();
  };
  plan.fds = {lift(parts.listener.get()), lift(config->get())};
  for (const auto& fd : args.passed())
    plan.fds.push_back(lift(fd.get()));
  plan.error_output = lift(parts.error_output.get());
  for (int fd : parts.cgroup_joins)
    plan.cgroup_joins.push_back(lift(fd));
  for (const auto& fd : high)
    if (!fd) return system_error("descriptors for the sandbox");
  for (auto& word : command)
    plan.argv.push_back(word.data());
  plan.argv.push_back(nullptr);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  plan.open_files = std::min<rlim_t>(files.rlim_max, limits.open_files);
  plan.parent = ::getpid();
  auto pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid == 0) exec_sandbox(plan);
  return pid;
}

} // namespace skep::host
