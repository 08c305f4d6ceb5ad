// skep-guest as a program of a simulated sandbox: its subcommands with their answers
// (guest/README.md), over files in memory and panes that are coroutines.
#include "host/sim/follower.hpp"
#include "host/sim/uploads.hpp"

#include "transfer/sha256.hpp"

#include <boost/asio/detached.hpp>

#include <charconv>
#include <map>

namespace skep::host::sim {
namespace {

constexpr int exit_wrong_arguments = 2, exit_superseded = 3;

/// Options `--name value` up to `--`; a name may come several times.
struct options {
  std::map<std::string, std::vector<std::string>> values;
  std::vector<std::string> rest;
  std::vector<std::string> all(const std::string& name) const {
    auto i = values.find(name);
    return i == values.end() ? std::vector<std::string>{} : i->second;
  }
  /// The last of them; empty: none.
  std::string of(const std::string& name) const {
    auto i = values.find(name);
    return i == values.end() ? std::string{} : i->second.back();
  }
  std::uint64_t number(const std::string& name) const {
    return std::strtoull(of(name).c_str(), nullptr, 10);
  }
};

bool read_options(const std::vector<std::string>& argv, options& out) {
  for (std::size_t i = 2; i < argv.size(); ++i) {
    if (argv[i] == "--") {
      out.rest.assign(argv.begin() + static_cast<std::ptrdiff_t>(i) + 1, argv.end());
      return true;
    }
    if (argv[i] == "--eof" || argv[i] == "--look") continue;
    if (!argv[i].starts_with("--") || i + 1 >= argv.size()) return false;
    auto name = argv[i].substr(2);
    out.values[name].push_back(argv[++i]);
  }
  return true;
}

json state(const char* name) {
  json out = json::object();
  out["state"] = name;
  return out;
}

result<std::string> file_text(const program& p, const std::string& path) {
  auto n = p.home->files.find(normal_path(p.cwd, path));
  if (!n || n->type != node::kind::file) return make_error(errc::file_not_found, path);
  return *n->data;
}

// -- work trees -----------------------------------------------------------------------------------

/// What the parts of a file hold together.
result<std::string> joined(const program& p, const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts) {
    auto text = file_text(p, part);
    if (!text) return text.err();
    out += *text;
  }
  return out;
}

result<json> parts(program& p, const options& o) {
  auto dir = normal_path(p.cwd, o.of("dir"));
  auto list = json::array();
  for (const auto& name : p.home->files.names_in(dir))
    if (auto text = file_text(p, dir + "/" + name))
      list.push_back(
          {{"name", name}, {"size_bytes", text->size()}, {"sha256", transfer::sha256_of(*text)}});
  return json{{"parts", std::move(list)}};
}

result<json> unpack(program& p, const options& o) {
  auto archive = joined(p, o.all("archive"));
  if (!archive) return archive.err();
  auto dest = normal_path(p.cwd, o.of("dest"));
  if (!p.home->files.names_in(dest).empty()) return make_error(errc::exists, dest);
  auto what = tree_of(p.home->world, *archive);
  if (!what) return what.err();
  p.home->files.mount(dest, *what);
  return json{{"files", (*what)->files.size()},
              {"size_bytes", (*what)->total_bytes},
              {"manifest_sha256", (*what)->sha256}};
}

result<json> verify(program& p, const options& o) {
  auto what = p.home->files.mounted_at(normal_path(p.cwd, o.of("dest")));
  if (!what) return make_error(errc::file_not_found, o.of("dest"));
  if (what->sha256 != o.of("manifest-sha256"))
    return make_error(errc::verification, "the manifest is another one");
  return json{{"verified", true}, {"files", what->files.size()}, {"size_bytes", what->total_bytes}};
}

/// The id that stands for a commit of the uploaded tree: there is no git here.
result<json> base(program& p, const options& o) {
  auto what = p.home->files.mounted_at(normal_path(p.cwd, o.of("repo")));
  if (!what) return make_error(errc::file_not_found, o.of("repo"));
  auto head = o.of("head");
  bool is_head = !head.empty() && joined(p, o.all("head-pack")).ok();
  return json{{"commit", is_head ? head : what->sha256.substr(0, 40)}, {"is_head", is_head}};
}

/// Work trees are mounts of what was uploaded: what a setup wrote beside it stays where it is.
result<json> settle(program& p, const options& o) {
  auto what = p.home->files.mounted_at(normal_path(p.cwd, o.of("repo")));
  if (!what) return make_error(errc::file_not_found, o.of("repo"));
  return json{{"commit", what->sha256.substr(0, 40)}, {"changed", false}};
}

result<json> worktree(program& p, const options& o) {
  auto& files = p.home->files;
  auto what = files.mounted_at(normal_path(p.cwd, o.of("repo")));
  if (!what) return make_error(errc::file_not_found, o.of("repo"));
  auto dest = normal_path(p.cwd, o.of("dest"));
  if (!files.mounted_at(dest)) files.mount(dest, what);
  return json{{"branch", "skep/" + o.of("name")}, {"path", dest}, {"commit", o.of("base")}};
}

result<json> diff(program& p, const options& o) {
  return write_diff(*p.home, normal_path(p.cwd, o.of("tree")), o.of("base"), o.of("name"),
                    normal_path(p.cwd, o.of("out")));
}

result<json> changed(program& p, const options& o) {
  return say_changed(*p.home, normal_path(p.cwd, o.of("tree")));
}

// -- panes ----------------------------------------------------------------------------------------

json exit_record(const box& where, const std::string& dir) {
  auto n = where.files.find(dir + "/exit.json");
  auto j = n && n->data ? json::parse(*n->data, nullptr, false) : json{};
  return j.is_object() ? j : json::object();
}

json as_it_is(const box& where, const pane& x) {
  json out = state(x.ended ? "exited" : "running");
  if (x.ended)
    out.update(exit_record(where, x.dir));
  else
    out["pid"] = x.agent->pid;
  return out;
}

task<void> play(std::shared_ptr<box> where, std::shared_ptr<pane> x) {
  auto agent = x->agent;
  int code = co_await run_program(agent);
  auto log = where->files.find(x->dir + "/log");
  json record = {{"exit_code", agent->signalled() != 0 ? -1 : code},
                 {"signal", agent->signalled()},
                 {"final_offset", log ? log->size() : 0},
                 {"ended_at_ms", wall_now_ms()}};
  where->files.write(x->dir + "/exit.json", std::make_shared<std::string>(dump(record) + "\n"));
  x->ended = true;
  agent->sink = {};
  where->changed.notify();
}

std::shared_ptr<pane> pane_of(const std::string& dir) {
  auto x = std::make_shared<pane>();
  x->dir = dir;
  auto slash = dir.rfind('/');
  x->generation = static_cast<std::uint32_t>(std::strtoul(dir.c_str() + slash + 1, nullptr, 10));
  auto before = dir.rfind('/', slash - 1);
  x->id.value = dir.substr(before + 1, slash - before - 1);
  return x;
}

/// A KILL came before the start: it starts nothing any more.
void bar_start(box& where, const std::string& dir) {
  auto x = pane_of(dir);
  x->ended = true;
  json record = {
      {"exit_code", -1}, {"signal", SIGKILL}, {"final_offset", 0}, {"ended_at_ms", wall_now_ms()}};
  where.files.write(dir + "/exit.json", std::make_shared<std::string>(dump(record) + "\n"));
  where.panes[dir] = std::move(x);
  where.changed.notify();
}

result<json> start_pane(program& p, const options& o) {
  auto& where = *p.home;
  auto dir = normal_path(p.cwd, o.of("dir"));
  if (o.rest.empty()) return make_error(errc::bad_argument, "no program after --");
  if (o.number("epoch") < where.epoch)
    return make_error(errc::stale_epoch, "a newer daemon has taken over");
  where.epoch = o.number("epoch");
  if (auto i = where.panes.find(dir); i != where.panes.end()) return as_it_is(where, *i->second);
  auto x = pane_of(dir);
  std::string input;
  if (auto file = o.of("stdin-file"); !file.empty()) {
    auto text = file_text(p, file);
    if (!text) return text.err();
    input = std::move(*text);
  }
  auto agent = std::make_shared<program>(p.home, where.world.io);
  x->agent = agent;
  agent->pid = where.processes.new_pid();
  agent->argv = o.rest;
  agent->env = p.env;
  agent->cwd = normal_path(p.cwd, o.of("cwd"));
  agent->is_agent = true;
  agent->attempt = x->generation;
  agent->give_input(input);
  if (o.of("stdin") != "open" && o.of("pty").empty()) agent->close_input();
  where.files.write(dir + "/log", std::make_shared<std::string>());
  agent->sink = [weak = std::weak_ptr{p.home},
                 path = dir + "/log"](channel, std::string text) -> task<void> {
    if (auto home = weak.lock(); home && !home->dead) {
      home->files.append(path, text);
      home->changed.notify();
    }
    co_return;
  };
  where.panes[dir] = x;
  asio::co_spawn(where.world.io, play(p.home, x), asio::detached);
  where.changed.notify();
  auto out = state("started");
  out["pid"] = agent->pid;
  return out;
}

result<std::shared_ptr<pane>> pane_at(program& p, const options& o) {
  auto i = p.home->panes.find(normal_path(p.cwd, o.of("dir")));
  if (i == p.home->panes.end()) return make_error(errc::file_not_found, o.of("dir"));
  return i->second;
}

result<json> input(program& p, const options& o) {
  auto x = pane_at(p, o);
  if (!x) return x.err();
  auto key = o.of("key");
  if ((*x)->inputs.contains(key)) return state("duplicate");
  if ((*x)->ended) return state("exited");
  if (!(*x)->agent->input_open()) return state("no_input");
  if (auto file = o.of("file"); !file.empty()) {
    auto text = file_text(p, file);
    if (!text) return text.err();
    (*x)->agent->give_input(*text);
  }
  (*x)->inputs[key] = true;
  return state("written");
}

result<json> send_signal(program& p, const options& o) {
  auto name = o.of("signal");
  auto dir = normal_path(p.cwd, o.of("dir"));
  if (name == "KILL" && !p.home->panes.contains(dir)) bar_start(*p.home, dir);
  auto x = pane_at(p, o);
  if (!x) return x.err();
  if ((*x)->ended) return state("exited");
  (*x)->agent->signal(name == "INT"    ? SIGINT
                      : name == "TERM" ? SIGTERM
                      : name == "STOP" ? SIGSTOP
                      : name == "CONT" ? SIGCONT
                                       : SIGKILL);
  return state("signalled");
}

result<json> resize(program& p, const options& o) {
  auto x = pane_at(p, o);
  if (!x) return x.err();
  return state((*x)->ended ? "exited" : "no_pty");
}

// There is no network here; what a provider lets through by mistake, a scenario says.
result<json> reach(program& p, const options& o) {
  const auto& faults = p.home->world.play.faults;
  auto list = json::array();
  for (const auto& target : o.all("http")) {
    json one = {{"target", target}, {"state", faults.open_metadata ? "answered" : "unreachable"}};
    if (faults.open_metadata) one["status"] = 200;
    list.push_back(std::move(one));
  }
  for (const auto& target : o.all("tls"))
    list.push_back(
        {{"target", target}, {"state", faults.open_network ? "answered" : "unreachable"}});
  return json{{"targets", std::move(list)}};
}

using subcommand = result<json> (*)(program&, const options&);
const std::map<std::string, subcommand, std::less<>> subcommands = {
    {"parts", parts},   {"unpack", unpack},      {"verify", verify}, {"base", base},
    {"settle", settle}, {"worktree", worktree},  {"diff", diff},     {"pane", start_pane},
    {"input", input},   {"signal", send_signal}, {"resize", resize}, {"changed", changed},
    {"reach", reach}};

} // namespace

task<int> run_guest(program_ptr p) {
  auto what = p->argv.size() > 1 ? p->argv[1] : std::string{};
  if (what == "--version") {
    co_await p->write(channel::out, "skep-guest " + p->home->world.version + "\n");
    co_return 0;
  }
  options o;
  auto i = subcommands.find(what);
  if ((i == subcommands.end() && what != "follow" && what != "view") || !read_options(p->argv, o)) {
    co_await p->write(channel::err, "skep-guest: wrong arguments\n");
    co_return exit_wrong_arguments;
  }
  if (what == "follow") {
    follow_request wanted;
    wanted.epoch = o.number("epoch");
    wanted.limit = std::chrono::seconds{o.number("deadline-s")};
    for (const auto& text : o.all("from"))
      wanted.add(text);
    bool superseded = co_await follow(p, std::move(wanted));
    co_return superseded ? exit_superseded : 0;
  }
  result<json> answer = state("no");
  if (what == "view") {
    auto log = file_text(*p, o.of("dir") + "/log");
    if (log) co_await p->write(channel::out, std::move(*log));
    if (log) co_return 0;
    answer = log.err();
  } else {
    answer = i->second(*p, o);
  }
  if (answer) {
    co_await p->write(channel::out, dump(*answer) + "\n");
    co_return 0;
  }
  json failure = {{"error", std::string{to_string(answer.err().code)}},
                  {"message", answer.err().message}};
  co_await p->write(channel::out, dump(failure) + "\n");
  co_return answer.err().code == errc::stale_epoch ? exit_superseded : 1;
}

} // namespace skep::host::sim
