// skepd: the daemon. Takes the state directory over, starts the supervision tree, waits for a
// signal.
#include "actors/asked.hpp"
#include "actors/slewed_clock.hpp"
#include "actors/storage_backend.hpp"
#include "actors/tree.hpp"
#include "broker/control.hpp"
#include "broker/publisher.hpp"
#include "host/gateway/prices.hpp"
#include "messages/crash_point.hpp"
#include "messages/release.hpp"
#include "storage/disk_guard.hpp"
#include "storage/last_failure.hpp"
#include "storage/secrets.hpp"
#include "storage/state_dir.hpp"
#include "tools/skepd/ending.hpp"
#include "tools/skepd/idle_end.hpp"
#include "tools/skepd/json_log.hpp"
#include "tools/skepd/limits.hpp"
#include "tools/skepd/local_host.hpp"
#include "tools/skepd/providers.hpp"
#include "tools/skepd/tables.hpp"
#include "tools/skepd/watchdog.hpp"
#include "tools/skepd/watching.hpp"
#include "transfer/sha256.hpp"

#include <CLI/CLI.hpp>
#include <csignal>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::tools {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct options {
  std::string state;
  std::string config_file;
  unsigned idle_minutes = 15;
  // Of tests alone, in no help: messages/crash_point.hpp.
  std::string crash_at;
  std::string crash_count_file;
};

utc_time system_now() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

struct actor_config : caf::actor_system_config {
  actor_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-throughput", 100);
    set("scheduler.max-threads", std::max(2u, std::thread::hardware_concurrency()));
  }
};

// Keys pass through our memory: no core dumps, no tracing, and as many descriptors as we may have.
void harden() {
  ::umask(077);
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  std::signal(SIGPIPE, SIG_IGN);
}

// Signals come to main's sigtimedwait; every thread inherits the mask.
sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int s : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&set, s);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

fs::path own_folder() {
  std::error_code ec;
  return fs::read_symlink("/proc/self/exe", ec).parent_path();
}

// Ends at a signal, or when `idle` says so. `each_second` is called about that often.
std::string wait_for_end(const sigset_t& signals, const actors::swarm_registry& swarms,
                         const std::atomic<std::uint64_t>& asked, idle_end idle,
                         const std::function<void()>& each_second) {
  for (;;) {
    timespec second{1, 0};
    auto got = ::sigtimedwait(&signals, nullptr, &second);
    if (got == SIGTERM || got == SIGINT) return "signal";
    each_second();
    if (idle.is_due(std::chrono::steady_clock::now(), swarms.size() > 0, asked.load()))
      return "idle";
  }
}

int fail(const error& e) {
  std::fprintf(stderr, "skepd: %s\n", render(e).c_str());
  return info(e.code).exit_code;
}

/// The journal cannot be written, or not any more: said wherever it can be said, and this process
/// ends at once. Any thread.
[[noreturn]] void end_for_journal(const storage::state_paths& paths, const error& e) {
  auto text = render(e);
  std::fprintf(stderr, "skepd: %s, ending at once: %s\n",
               e.code == errc::corrupt_database ? "damage was found in the database"
                                                : "the journal could not be committed",
               text.c_str());
  std::fflush(stderr);
  storage::leave_last_failure(paths, text);
  log_line(log_level::error, "daemon", "daemon.journal_failed", {{"error", text}});
  std::_Exit(info(errc::io).exit_code);
}

/// What the check of a large database came to, which goes on after the start. From its thread.
void tell_checked(const storage::state_paths& paths, const error& found) {
  if (found.code == errc::corrupt_database) end_for_journal(paths, found);
  if (found)
    log_line(log_level::warn, "daemon", "daemon.database_not_checked", {{"error", render(found)}});
  else
    log_line(log_level::info, "daemon", "daemon.database_checked");
}

/// What the last daemon could not put into its journal stands in this one before anything else.
result<void> record_last_failure(storage::journal& journal, const storage::state_paths& paths,
                                 utc_time now) {
  auto words = storage::read_last_failure(paths);
  if (words.empty()) return {};
  if (auto begun = journal.begin(); !begun) return begun;
  chunk c;
  c.count = 1;
  pack_event(c.body.data, now, notice{severity::error, "journal_failed", words});
  auto stored = journal.append(c);
  if (auto done = journal.commit(); !done) return done;
  if (stored) storage::clear_last_failure(paths); // on a nearly full disk: the next start
  return {};
}

int run(const options& opt) {
  harden();
  if (!opt.crash_at.empty() || !opt.crash_count_file.empty())
    if (auto armed = arm_crash_points(opt.crash_at, opt.crash_count_file); !armed)
      return fail(armed.err());
  auto signals = block_signals();
  auto root =
      opt.state.empty() ? storage::default_state_root() : result<fs::path>(fs::absolute(opt.state));
  if (!root) return fail(root.err());
  auto paths = storage::prepare_state(*root);
  if (!paths) return fail(paths.err());
  auto lock = storage::state_lock::acquire(*paths);
  if (!lock) return fail(lock.err());
  auto settings =
      opt.config_file.empty() ? load_config_of(paths->root) : load_config(opt.config_file, true);
  if (!settings) return fail(settings.err());
  auto install = storage::install_id(*paths);
  if (!install) return fail(install.err());
  auto secrets = std::make_shared<storage::secret_store>(*paths);
  watching watch;
  watch.guard = std::make_shared<secret_guard>(paths->secrets(), secrets);
  auto journal_options = watch.journal_options_of(*paths);
  journal_options.checked = [p = *paths](const error& found) { tell_checked(p, found); };
  auto journal = storage::journal::open(paths->database(), journal_options);
  if (!journal) return fail(journal.err());
  // All that is stored and reckoned with; the system's clock itself is for who looks at files.
  auto clock = std::make_shared<actors::slewed_clock>(system_now, actors::boot_clock);
  std::function<utc_time()> wall_now = [clock] { return clock->now(); };
  auto epoch = storage::take_epoch(*journal, std::string{release_version}, ::getpid(), wall_now());
  if (!epoch) return fail(epoch.err());
  if (auto told = record_last_failure(*journal, *paths, wall_now()); !told) return fail(told.err());
  if (auto done = storage::record_repair(*journal, wall_now()); !done) return fail(done.err());
  auto guest = own_folder() / "skep-guest";
  auto guest_hash = transfer::sha256_of_file(guest.string());
  if (!guest_hash)
    return fail(make_error(errc::program_missing, guest.string(), guest_hash.err().cause));
  if (auto done = watch.open_log(*paths, settings->log_level); !done) return fail(done.err());
  log_line(log_level::info, "daemon", "daemon.up",
           {{"version", std::string{release_version}},
            {"epoch", *epoch},
            {"pid", ::getpid()},
            {"state", paths->root.string()}});

  sandbox::engine_options engine_options;
  engine_options.on_call = [m = watch.metrics](std::string_view op, std::chrono::milliseconds took,
                                               errc how) { m->on_call(op, took, how); };
  auto engine = std::make_shared<sandbox::http_engine>(std::move(engine_options));
  auto tables = std::make_shared<state_reader>(paths->database());
  auto host = std::make_shared<local_host>(paths->root, *install, *settings, own_folder(), engine);
  auto known = std::make_shared<providers>(
      *settings, [host] { return host->connect(); }, watch.guard, engine);

  auto svc = std::make_shared<actors::services>();
  // Health compares with the times of log files, which are the system's.
  svc->handles = std::make_shared<actors::directory>(system_now);
  svc->provider = [known](const std::string& name) { return known->connect(name); };
  svc->gateway_url = [](const std::string& name) {
    return name == "local" ? std::string{"http://127.0.0.1:49984"} : std::string{};
  };
  svc->key_secret = [known](const std::string& name) { return known->key_secret(name); };
  svc->secret = [guard = watch.guard](const std::string& name) { return guard->value(name); };
  svc->known_secrets = [guard = watch.guard] { return guard->seen(); };
  svc->limits = policies_of(*settings);
  svc->rules = std::make_shared<const actors::limit_table>(limits_of(*settings));
  svc->counts_models = [](const std::string& name) { return name == "local"; };
  svc->knows_price = priced_models(*settings);
  svc->wall_now = wall_now;
  bind_tables(*svc, tables);
  askable_providers askable{[known](const std::string& name) { return known->knows(name); },
                            [known] { return known->with_key(); },
                            [host] { return host->may_hold(); }};
  bind_providers(*svc, tables, askable);
  if (auto rows = tables->with([](storage::reader& r) { return r.open_sandboxes(); }))
    watch.metrics->take_up(*rows);
  // Asked for by a client, after the word that runs go on: never a kill.
  auto detach = std::make_shared<std::atomic<bool>>(false);
  auto told_to_end = std::make_shared<std::atomic<bool>>(false); // asked twice, it ends once
  svc->shut_down = [detach, told_to_end] {
    *detach = true;
    if (!told_to_end->exchange(true)) ::kill(::getpid(), SIGTERM);
  };
  auto job_failed = [](const std::string& what) {
    log_line(log_level::error, "work", "work.job_failed", {{"error", what}});
  };
  svc->pool = std::make_shared<actors::work_pool>(2, job_failed);
  svc->provider_pool = std::make_shared<actors::work_pool>(2, job_failed);
  svc->state_dir = paths->root;
  svc->room = std::make_shared<actors::disk_room>(
      [root = paths->root] { return storage::free_bytes(root); }, svc->boot_now);
  svc->followers = std::make_shared<actors::follower_places>(
      actors::follower_places::share_of(sandbox::streams_at_most()));
  svc->take_ups = std::make_shared<actors::turnstile>(svc->limits.take_ups);
  svc->upload_form = settings->upload_form;
  svc->upload_keep_bytes = settings->upload_keep_bytes;
  svc->guest_binary = guest;
  svc->guest_sha256 = *guest_hash;
  svc->install_id = *install;
  svc->epoch = *epoch;

  auto asked = std::make_shared<std::atomic<std::uint64_t>>(0);
  actors::tree_parts parts;
  parts.svc = svc;
  parts.registry = std::make_shared<actors::swarm_registry>();
  auto registry = parts.registry;
  auto stream_id = journal->stream_id();
  auto head = journal->head();
  svc->handles->set_head_seq(head);
  // The first JOURNAL takes the one that is open; a restarted one opens the file again.
  auto first = std::make_shared<std::optional<storage::journal>>(std::move(*journal));
  parts.journal = [first, watch, journal_options, wall_now,
                   database =
                       paths->database()]() -> result<std::unique_ptr<actors::journal_backend>> {
    if (auto taken = std::exchange(*first, std::nullopt))
      return watch.observed(actors::wrap_journal(std::move(*taken)), wall_now);
    auto again = storage::journal::open(database, journal_options);
    if (!again) return again.err();
    return watch.observed(actors::wrap_journal(std::move(*again)), wall_now);
  };
  parts.journal_how.fatal = [p = *paths](const error& e) { end_for_journal(p, e); };
  parts.facts = {std::string{release_version},
                 ::getpid(),
                 paths->root,
                 wall_now(),
                 [registry] { return registry->draining(); },
                 watch.book,
                 [sent = watch.published] { return sent->load(); }};
  watch.published->store(head);
  parts.open_reader = [database = paths->database()] { return storage::reader::open(database); };
  parts.tables = reaper_tables_of(tables, askable, wall_now);
  parts.open_runs = [tables] { return tables->open_runs(); };
  parts.start_publisher = [svc, sent = watch.published, path = paths->events_socket().string(),
                           stream_id](caf::actor_system& sys) {
    broker::publisher_config c;
    c.path = path;
    c.stream_id = stream_id;
    c.head_seq = svc->handles->head_seq();
    c.on_published = [sent](std::uint64_t seq) { sent->store(seq); };
    return broker::start_publisher(sys, c);
  };
  parts.start_control = [svc, p = *paths, asked](caf::actor_system& sys) {
    broker::control_config c;
    c.control_path = p.control_socket().string();
    c.replay_path = p.replay_socket().string();
    c.version = std::string{release_version};
    auto ready = std::make_shared<std::atomic<bool>>(false);
    c.desk_for = [handles = svc->handles, asked, ready](std::uint32_t command) {
      ++*asked;
      // By daemon.status a client learns that the daemon it started is up, and its command follows
      // at once: the first answer waits for the command desk, which comes up beside the edge.
      if (command == command_traits<daemon_status_request>::number && !*ready) {
        if (!handles->commands()) return actors::desk_actor{};
        *ready = true;
      }
      return handles->desk_for(command);
    };
    // By a chunk of its own, which may reach the disk a few milliseconds after what comes of it.
    c.on_request = [svc](const broker::peer& who, const request_frame& f) {
      if (auto fact = actors::asked(f, who.uid, who.pid))
        if (auto recorder = svc->handles->recorder())
          caf::anon_send(recorder, actors::note_a::value, actors::pack_now(svc->wall_now(), *fact));
    };
    return broker::start_control(sys, std::move(c));
  };
  // In the log at once: the journal, whose events are logged, may be what is down.
  parts.on_restarted = [](const child_restarted& e) {
    log_line(log_level::warn, "supervisor", "supervisor.restarting", to_json(e));
  };
  parts.on_gave_up = [](const supervisor_gave_up& e) {
    log_line(log_level::error, "supervisor", "supervisor.giving_up", to_json(e));
  };
  auto metrics = watch.serve_metrics(settings->metrics_listen, tables, svc->handles);
  if (!metrics) return fail(metrics.err());

  actor_config cfg;
  int status = 0;
  {
    caf::actor_system sys{cfg};
    watchdog dog{sys, 60s};
    caf::scoped_actor self{sys};
    auto tree = actors::start_tree(sys, std::move(parts));
    self->monitor(tree);
    // The tree may end by itself: then this process does too.
    std::atomic<bool> down{false};
    tree->attach_functor([&down](const caf::error&) {
      down = true;
      ::kill(::getpid(), SIGTERM);
    });
    auto held = [svc] {
      auto state = svc->load_spend(svc->wall_now());
      return !state || holds_daemon(*state, svc->wall_now());
    };
    idle_end idle{std::chrono::minutes{opt.idle_minutes}, held, std::chrono::steady_clock::now()};
    auto why = wait_for_end(signals, *registry, *asked, idle, [&] {
      take_up_words(self, *svc, paths->root);
      tell_clock_jump(*svc, *clock);
    });
    *told_to_end = true;
    // Ended by us, the tree sets `down` as well: what counts is whether it was down before.
    const bool by_itself = down;
    log_line(log_level::info, "daemon", "daemon.ending",
             {{"reason", by_itself ? "tree ended" : why}});
    if (settings->policy.at_signal == on_stop::kill && !*detach && !by_itself)
      if (auto end = end_swarms(sys, *svc, *registry, signals); !end.refused.empty())
        status = info(errc::stop_refused).exit_code;
    if (auto recorder = svc->handles->recorder(); recorder && !by_itself)
      self->request(recorder, 5s, actors::record_a::value,
                    actors::pack_now(wall_now(), daemon_stopping{*epoch, why}))
          .receive([](std::uint64_t) {}, [](caf::error&) {});
    self->send_exit(tree, caf::exit_reason::user_shutdown);
    const auto until = std::chrono::steady_clock::now() + svc->limits.own_end_limit;
    await_or_exit(signals, until, "tree", [&self] {
      bool gone = false;
      self->receive([&gone](caf::down_msg&) { gone = true; }, caf::after(100ms) >> [] {});
      return gone;
    });
    if (by_itself) status = info(errc::internal).exit_code;
    svc->handles->clear();
    // A pack under way is cancelled, whose swarm is gone: the next daemon packs anew.
    await_or_exit(signals, until, "work", [&svc] {
      const bool asked_all = svc->provider_pool->stop(50ms); // both are told before either is late
      return svc->pool->stop(50ms) && asked_all;
    });
  }
  // The last connection to close writes the whole journal into the database file.
  metrics->reset();
  tables->close();
  storage::journal_options no_check;
  no_check.check = false;
  if (auto last = storage::journal::open(paths->database(), no_check); !last)
    log_line(log_level::error, "daemon", "daemon.database_not_closed",
             {{"error", render(last.err())}});
  else if (auto noted = storage::note_head(*last); !noted)
    log_line(log_level::warn, "daemon", "daemon.head_not_noted", {{"error", render(noted.err())}});
  log_line(log_level::info, "daemon", "daemon.down");
  return status;
}

} // namespace
} // namespace skep::tools

int main(int argc, char** argv) {
  skep::tools::options opt;
  CLI::App app{
      "skepd: the daemon of supervised sandboxes and agents. `skep` starts it when needed."};
  app.add_option("--state", opt.state,
                 "State directory (default: $SKEP_STATE or the user's state directory)");
  app.add_option("--config", opt.config_file,
                 "Configuration file (default: $SKEP_CONFIG or STATE/skep.toml)");
  app.add_option("--idle-exit", opt.idle_minutes,
                 "End after MINUTES without a swarm, a request and a sandbox that may still "
                 "cost; 0: never")
      ->check(CLI::Range(0, 100000));
  app.add_option("--crash-at", opt.crash_at)->group("");
  app.add_option("--crash-count-file", opt.crash_count_file)->group("");
  app.set_version_flag("--version", "skepd " + std::string{skep::release_version});
  CLI11_PARSE(app, argc, argv);
  return skep::tools::run(opt);
}
