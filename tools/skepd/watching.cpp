#include "tools/skepd/watching.hpp"

#include "storage/audit_spool.hpp"
#include "tools/skepd/event_log.hpp"

#include <cstdio>
#include <sys/resource.h>
#include <unistd.h>

namespace skep::tools {
namespace {

std::uint64_t resident_bytes() {
  unsigned long pages = 0, resident = 0;
  if (auto* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%lu %lu", &pages, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

template <named_enum E>
std::map<std::string, std::uint64_t> by_name(const std::map<int, std::uint64_t>& counts) {
  std::map<std::string, std::uint64_t> out;
  for (const auto& [state, n] : counts)
    out[std::string{to_string(static_cast<E>(state))}] = n;
  return out;
}

} // namespace

result<void> watching::open_log(const storage::state_paths& paths, const std::string& level) {
  log_level least = log_level::info;
  if (!read_log_level(level, least)) return make_error(errc::bad_config, "log_level " + level);
  auto log = json_log::open(paths.root / "skepd.log", least,
                            [g = guard](std::string_view x) { return (*g)(x); });
  if (!log) return log.err();
  set_process_log(std::move(*log));
  set_process_mask([g = guard](std::string_view x) { return (*g)(x); });
  return {};
}

storage::journal_options watching::journal_options_of(const storage::state_paths& paths) const {
  storage::journal_options out;
  out.audit.emplace();
  out.audit->directory = paths.root;
  out.audit->mask = [g = guard](std::string_view x) { return (*g)(x); };
  return out;
}

std::unique_ptr<actors::journal_backend>
watching::observed(std::unique_ptr<actors::journal_backend> backend,
                   std::function<utc_time()> wall_now) const {
  return actors::observe(std::move(backend), {std::make_shared<event_log>(), book, metrics},
                         std::move(wall_now));
}

result<std::unique_ptr<metrics_server>>
watching::serve_metrics(const std::string& listen, std::shared_ptr<state_reader> tables,
                        actors::directory_ptr handles) const {
  if (listen.empty()) return std::unique_ptr<metrics_server>{};
  auto where = read_metrics_address(listen);
  if (!where) return where.err();
  return metrics_server::start(*where, [book = metrics, sent = published, since = begun,
                                        tables = std::move(tables), handles = std::move(handles)] {
    actors::present_figures now;
    if (auto counts = tables->with([](storage::reader& r) { return r.count_open(); })) {
      now.sandboxes = by_name<phase>(counts->sandboxes);
      now.panes = by_name<pane_phase>(counts->panes);
      now.open_swarms = counts->swarms;
    }
    now.journal_waiting_bytes = handles->credit().used();
    now.head_seq = handles->head_seq();
    if (auto seq = sent->load(); now.head_seq > seq) now.publisher_lag = now.head_seq - seq;
    now.uptime_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
    now.resident_bytes = resident_bytes();
    now.cpu_s = cpu_seconds();
    return book->text(now);
  });
}

void take_up_words(caf::scoped_actor& self, const actors::services& svc,
                   const std::filesystem::path& state_root) {
  auto words = storage::spooled_words(state_root);
  auto recorder = svc.handles->recorder();
  if (!words || !recorder) return;
  for (const auto& w : *words) {
    bool stored = false;
    self->request(recorder, std::chrono::seconds{5}, actors::record_a::value,
                  actors::pack_now(svc.wall_now(), w.what))
        .receive([&stored](std::uint64_t) { stored = true; }, [](caf::error&) {});
    if (!stored) return;
    storage::forget_word(w);
  }
}

void tell_clock_jump(const actors::services& svc, actors::slewed_clock& clock) {
  auto recorder = svc.handles->recorder();
  if (!recorder) return; // it is being started again: told a second later
  if (auto jump = clock.take_jump())
    caf::anon_send(recorder, actors::note_a::value,
                   actors::pack_now(svc.wall_now(), actors::notice_of_jump(*jump)));
}

} // namespace skep::tools
