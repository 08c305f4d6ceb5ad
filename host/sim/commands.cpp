// The small commands of a simulated sandbox, and which program a name means.
#include "host/sim/box.hpp"

#include <charconv>
#include <map>

namespace skep::host::sim {
namespace {

using command = task<int> (*)(program_ptr);

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

/// Says "NAME: WHAT" on standard error.
task<int> complain(program_ptr p, std::string what, int code = 1) {
  auto text = base_name(p->argv[0]) + ": " + what + "\n";
  co_await p->write(channel::err, std::move(text));
  co_return code;
}

std::string resolved(const program& p, const std::string& path) {
  return normal_path(p.cwd, path);
}

task<int> echo(program_ptr p) {
  std::size_t first = 1;
  bool newline = true;
  if (p->argv.size() > 1 && p->argv[1] == "-n") {
    newline = false;
    ++first;
  }
  std::string out;
  for (auto i = first; i < p->argv.size(); ++i)
    out += (i > first ? " " : "") + p->argv[i];
  if (newline) out += '\n';
  co_await p->write(channel::out, std::move(out));
  co_return 0;
}

// One kernel for the whole simulation, and namespaces of its own for every sandbox.
constexpr std::string_view boot_path = "/proc/sys/kernel/random/boot_id";
constexpr std::string_view boot_id = "51306a70-0000-4000-8000-000000000000\n";
constexpr std::uint64_t first_namespace = 4'026'532'000;

task<int> cat(program_ptr p) {
  if (p->argv.size() < 2) {
    // Line by line while the input is open, so that a dialogue works.
    for (;;) {
      auto line = co_await p->read_line();
      if (line.empty()) break;
      co_await p->write(channel::out, std::move(line));
    }
    co_return 0;
  }
  int code = 0;
  for (std::size_t i = 1; i < p->argv.size(); ++i) {
    auto path = resolved(*p, p->argv[i]);
    auto n = p->home->files.find(path);
    if (path == boot_path)
      co_await p->write(channel::out, std::string{boot_id});
    else if (n && n->type == node::kind::file)
      co_await p->write(channel::out, *n->data);
    else
      code = co_await complain(p, p->argv[i]
                                      + (n ? ": Is a directory" : ": No such file or directory"));
  }
  co_return code;
}

task<int> readlink(program_ptr p) {
  constexpr std::string_view namespaces = "/proc/self/ns/";
  auto path = resolved(*p, p->argv.back());
  if (!path.starts_with(namespaces)) co_return 1;
  auto text = path.substr(namespaces.size()) + ":["
              + std::to_string(first_namespace + p->home->ordinal) + "]\n";
  co_await p->write(channel::out, std::move(text));
  co_return 0;
}

char escaped(char c) {
  constexpr std::string_view from = "nrt\\0", to{"\n\r\t\\\0", 5};
  auto i = from.find(c);
  return i == from.npos ? '\0' : to[i];
}

task<int> print_formatted(program_ptr p) {
  if (p->argv.size() < 2) co_return co_await complain(p, "usage: printf FORMAT [ARGUMENT...]", 2);
  const auto format = p->argv[1];
  std::string out;
  std::size_t next = 2;
  do {
    auto before = next;
    for (std::size_t i = 0; i < format.size(); ++i) {
      if (format[i] == '\\' && i + 1 < format.size()
          && (escaped(format[i + 1]) != '\0' || format[i + 1] == '0')) {
        out += escaped(format[++i]);
      } else if (format[i] == '%' && i + 1 < format.size()) {
        auto kind = format[++i];
        if (kind == '%')
          out += '%';
        else if (next < p->argv.size())
          out += p->argv[next++];
        else if (kind == 'd')
          out += '0';
      } else {
        out += format[i];
      }
    }
    if (next == before) break;
  } while (next < p->argv.size());
  co_await p->write(channel::out, std::move(out));
  co_return 0;
}

task<int> env(program_ptr p) {
  std::string out;
  for (const auto& [name, value] : p->env)
    out += name + "=" + value + "\n";
  co_await p->write(channel::out, std::move(out));
  co_return 0;
}

task<int> pwd(program_ptr p) {
  co_await p->write(channel::out, p->cwd + "\n");
  co_return 0;
}

task<int> sleep_for_a_while(program_ptr p) {
  char* end = nullptr;
  auto text = p->argv.size() > 1 ? p->argv[1] : std::string{};
  auto seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || seconds < 0)
    co_return co_await complain(p, "expected SECONDS");
  co_await p->nap(std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)});
  co_return 0;
}

task<int> succeed(program_ptr) {
  co_return 0;
}
task<int> refuse(program_ptr) {
  co_return 1;
}
task<int> leave(program_ptr p) {
  co_return p->argv.size() > 1 ? std::atoi(p->argv[1].c_str()) & 0xff : 0;
}

task<int> tee(program_ptr p) {
  std::vector<std::string> targets(p->argv.begin() + 1, p->argv.end());
  bool append = !targets.empty() && targets[0] == "-a";
  if (append) targets.erase(targets.begin());
  for (auto& t : targets) {
    t = resolved(*p, t);
    if (!append) p->home->files.write(t, std::make_shared<std::string>());
  }
  for (;;) {
    auto line = co_await p->read_line();
    if (line.empty()) break;
    for (const auto& t : targets)
      p->home->files.append(t, line);
    co_await p->write(channel::out, std::move(line));
  }
  co_return 0;
}

task<int> kill_process(program_ptr p) {
  int number = SIGTERM, code = 0;
  for (std::size_t i = 1; i < p->argv.size(); ++i) {
    const auto& word = p->argv[i];
    if (word == "-9" || word == "-KILL" || word == "-SIGKILL") {
      number = SIGKILL;
    } else if (word == "-2" || word == "-INT" || word == "-SIGINT") {
      number = SIGINT;
    } else if (word.starts_with('-')) {
      number = SIGTERM;
    } else if (auto target = p->home->processes.with_pid(std::atoi(word.c_str()))) {
      target->signal(number);
    } else {
      code = co_await complain(p, "(" + word + ") - No such process");
    }
  }
  co_return code;
}

task<int> id(program_ptr p) {
  bool number = p->argv.size() > 1 && p->argv[1] == "-u";
  co_await p->write(channel::out, number ? "1000\n" : "uid=1000(user) gid=1000(user)\n");
  co_return 0;
}

task<int> chmod(program_ptr p) {
  if (p->argv.size() < 3) co_return co_await complain(p, "usage: chmod MODE FILE");
  unsigned mode = 0;
  const auto& text = p->argv[1];
  if (text == "+x")
    mode = 0755;
  else if (std::from_chars(text.data(), text.data() + text.size(), mode, 8).ec != std::errc{})
    co_return co_await complain(p, "invalid mode: " + text);
  for (std::size_t i = 2; i < p->argv.size(); ++i)
    if (!p->home->files.set_mode(resolved(*p, p->argv[i]), mode))
      co_return co_await complain(p, p->argv[i] + ": No such file or directory");
  co_return 0;
}

task<int> mkdir(program_ptr p) {
  for (std::size_t i = 1; i < p->argv.size(); ++i)
    if (!p->argv[i].starts_with('-') && !p->home->files.make_directory(resolved(*p, p->argv[i])))
      co_return co_await complain(p, p->argv[i] + ": File exists");
  co_return 0;
}

task<int> rm(program_ptr p) {
  for (std::size_t i = 1; i < p->argv.size(); ++i)
    if (!p->argv[i].starts_with('-')) p->home->files.remove(resolved(*p, p->argv[i]));
  co_return 0;
}

task<int> ls(program_ptr p) {
  auto path = resolved(*p, p->argv.size() > 1 ? p->argv.back() : ".");
  if (!p->home->files.find(path))
    co_return co_await complain(p, path + ": No such file or directory", 2);
  std::string out;
  if (!p->home->files.is_directory(path)) out = p->argv.back() + "\n";
  for (const auto& name : p->home->files.names_in(path))
    out += name + "\n";
  co_await p->write(channel::out, std::move(out));
  co_return 0;
}

const std::map<std::string, command, std::less<>> commands = {
    {"echo", echo},   {"cat", cat},           {"printf", print_formatted},
    {"env", env},     {"pwd", pwd},           {"sleep", sleep_for_a_while},
    {"exit", leave},  {"false", refuse},      {"true", succeed},
    {"tee", tee},     {"kill", kill_process}, {"id", id},
    {"chmod", chmod}, {"mkdir", mkdir},       {"rm", rm},
    {"ls", ls},       {"readlink", readlink}};

bool in_system_directory(const std::string& path) {
  for (const char* prefix : {"/bin/", "/usr/bin/", "/usr/local/bin/"})
    if (path.starts_with(prefix))
      return path.find('/', std::string_view{prefix}.size()) == path.npos;
  return path.find('/') == path.npos;
}

bool is_executable(const program& p) {
  auto n = p.home->files.find(normal_path(p.cwd, p.argv[0]));
  return n && n->type == node::kind::file && (n->mode & 0100) != 0;
}

} // namespace

std::optional<task<int>> run_command(const program_ptr& p) {
  auto i = commands.find(base_name(p->argv[0]));
  if (i == commands.end() || !in_system_directory(p->argv[0])) return {};
  return i->second(p);
}

/// What the scenario says of this program; none where it works.
const broken_step* broken(const program& p) {
  std::string name{base_name(p.argv[0])};
  if (p.argv.size() > 1) name += " " + p.argv[1];
  for (const auto& x : p.home->world.play.faults.programs)
    if (x.what == name && p.home->runs[name]++ >= x.after) return &x;
  return nullptr;
}

task<int> run_program(program_ptr p) {
  auto name = base_name(p->argv[0]);
  if (const auto* step = broken(*p)) {
    // GCC 12 awaits the right side of && whatever the left one is.
    for (bool more = step->hangs; more;)
      more = co_await p->nap(std::chrono::hours{1});
    auto text = std::string{"a simulated failure of this step\n"};
    co_await p->write(channel::err, std::move(text));
    co_return 1;
  }
  auto ours = in_system_directory(p->argv[0]);
  if (ours && (name == "sh" || name == "bash" || name == "dash")) co_return co_await run_shell(p);
  if (auto command = run_command(p)) co_return co_await std::move(*command);
  if (name == "skep-guest" && is_executable(*p)) co_return co_await run_guest(p);
  if (p->is_agent || name == "sim-agent"
      || (p->argv[0].find('/') != std::string::npos && is_executable(*p)))
    co_return co_await run_agent(p);
  auto text = p->argv[0] + ": not found\n";
  co_await p->write(channel::err, std::move(text));
  co_return 127;
}

} // namespace skep::host::sim
