#include "actors/query_desk.hpp"

#include "actors/health_answer.hpp"
#include "actors/output_log.hpp"
#include "transfer/freed_front.hpp"
#include "transfer/posix.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::actors {
namespace {

constexpr std::uint32_t most_log_bytes = 512 * 1024; // of one reply, whatever was asked for
constexpr int most_log_tries = 20;

class query_desk_impl : public desk_actor::base {
  using super = desk_actor::base;

public:
  query_desk_impl(caf::actor_config& cfg, directory_ptr handles, daemon_facts facts,
                  std::function<result<storage::reader>()> open)
      : super(cfg), handles_(std::move(handles)), facts_(std::move(facts)), open_(std::move(open)) {
    set_default_handler(caf::drop);
    set_error_handler([](caf::error&) {});
  }

  const char* name() const override { return "query_desk"; }

  behavior_type make_behavior() override {
    auto opened = open_();
    if (!opened) {
      quit(to_caf(opened.err()));
      return behavior_type::make_empty_behavior();
    }
    reader_ = std::make_unique<storage::reader>(std::move(*opened));
    return {
        [this](handle_a, const request_frame& f) -> caf::result<reply_frame> { return handle(f); }};
  }

  void on_exit() override {
    reader_.reset();
    handles_.reset();
  }

private:
  reply_frame handle(const request_frame& f) {
    switch (f.command) {
    case command_traits<list_request>::number:
      return answer<list_request>(f, [this](auto& r) { return list(r); });
    case command_traits<status_request>::number:
      return answer<status_request>(f, [this](auto& r) { return status(r); });
    case command_traits<log_read_request>::number:
      return answer<log_read_request>(f, [this](auto& r) { return log(r); });
    case command_traits<daemon_status_request>::number:
      return answer<daemon_status_request>(f, [this](auto&) { return daemon(); });
    case command_traits<health_request>::number:
      return answer<health_request>(
          f, [this](auto& r) { return answer_health(*reader_, facts_, *handles_, r); });
    case command_traits<replay_request>::number:
      return answer<replay_request>(f, [this](auto& r) { return replay(r); });
    default:
      return {
          protocol_version, f.id, make_error(errc::unknown_command, std::to_string(f.command)), {}};
    }
  }

  template <class R, class F>
  reply_frame answer(const request_frame& f, F work) {
    auto body = unpack<R>(f.body.data);
    if (!body) return {protocol_version, f.id, body.err(), {}};
    auto reply = work(*body);
    if (!reply) return {protocol_version, f.id, reply.err(), {}};
    return {protocol_version, f.id, {}, {pack(*reply)}};
  }

  result<list_reply> list(const list_request& r) {
    if (!r.named.empty()) return list_named(r.named);
    if (!r.repo.empty()) return list_of_repo(r.repo);
    auto swarms = reader_->swarms(r.all);
    auto sandboxes = reader_->all_sandboxes(r.all);
    auto panes = reader_->all_panes(r.all);
    if (!swarms || !sandboxes || !panes)
      return !swarms ? swarms.err() : !sandboxes ? sandboxes.err() : panes.err();
    list_reply out{std::move(*swarms), std::move(*sandboxes), std::move(*panes)};
    if (!r.all)
      if (auto e = add_what_stayed(out)) return e;
    return out;
  }

  result<list_reply> list_named(const std::string& text) {
    auto swarms = reader_->swarms_named(text);
    auto panes = reader_->panes_named(text);
    if (!swarms || !panes) return !swarms ? swarms.err() : panes.err();
    return list_reply{std::move(*swarms), {}, std::move(*panes)};
  }

  result<list_reply> list_of_repo(const std::string& repo) {
    auto swarms = reader_->swarms_of_repo(repo);
    if (!swarms) return swarms.err();
    return list_reply{std::move(*swarms), {}, {}};
  }

  /// Adds what is there of swarms that are closed, and those swarms, to a list of open ones.
  error add_what_stayed(list_reply& list) {
    auto living = reader_->living_sandboxes();
    if (!living) return living.err();
    std::set<swarm_id> listed;
    for (const auto& s : list.swarms)
      listed.insert(s.swarm);
    const auto open = listed;
    for (auto& box : *living) {
      if (open.count(box.swarm) != 0) continue;
      if (listed.insert(box.swarm).second) {
        auto swarm = reader_->swarm(box.swarm);
        if (!swarm) return swarm.err();
        list.swarms.push_back(std::move(*swarm));
      }
      list.sandboxes.push_back(std::move(box));
    }
    std::stable_sort(list.swarms.begin(), list.swarms.end(),
                     [](const auto& a, const auto& b) { return a.created_at > b.created_at; });
    return {};
  }

  result<status_reply> status(const status_request& r) {
    auto swarm = reader_->swarm(r.swarm);
    if (!swarm) return swarm.err();
    auto sandboxes = reader_->sandboxes(r.swarm);
    auto panes = reader_->panes(r.swarm);
    auto transfers = reader_->transfers(r.swarm);
    auto head = reader_->head();
    auto replacements = reader_->replacements(r.swarm);
    if (!replacements) return replacements.err();
    if (!sandboxes || !panes || !transfers || !head)
      return !sandboxes   ? sandboxes.err()
             : !panes     ? panes.err()
             : !transfers ? transfers.err()
                          : head.err();
    auto health = answer_health(*reader_, facts_, *handles_, {r.swarm, {}, {}});
    if (!health) return health.err();
    return status_reply{std::move(*swarm),
                        std::move(*sandboxes),
                        std::move(*panes),
                        std::move(*transfers),
                        *head,
                        std::move(*health),
                        std::move(*replacements)};
  }

  result<log_read_reply> log(const log_read_request& r) {
    auto pane = reader_->pane(r.pane);
    if (!pane) return pane.err();
    return read_log(facts_.state_dir / "logs", *pane, r);
  }

  result<daemon_status_reply> daemon() {
    auto epoch = reader_->epoch();
    auto stream = reader_->stream_id();
    auto head = reader_->head();
    auto open = reader_->count_open();
    if (!epoch || !stream || !head || !open)
      return !epoch ? epoch.err() : !stream ? stream.err() : !head ? head.err() : open.err();
    return daemon_status_reply{facts_.version,
                               facts_.pid,
                               *epoch,
                               *stream,
                               *head,
                               facts_.state_dir.string(),
                               static_cast<std::uint32_t>(open->swarms),
                               facts_.started_at,
                               facts_.draining && facts_.draining()};
  }

  result<replay_reply> replay(const replay_request& r) {
    if (r.max_chunks < 1 || r.max_chunks > 256)
      return make_error(errc::out_of_range, "max_chunks must be between 1 and 256");
    auto stream = reader_->stream_id();
    if (!stream) return stream.err();
    storage::chunk_selector want;
    want.from = r.from;
    want.swarm = r.swarm;
    want.sandbox = r.sandbox;
    want.max_chunks = r.max_chunks;
    auto page = reader_->read_chunks(want);
    if (!page) return page.err();
    return replay_reply{*stream, page->oldest, page->head, std::move(page->chunks), page->next};
  }

  directory_ptr handles_;
  daemon_facts facts_;
  std::function<result<storage::reader>()> open_;
  std::unique_ptr<storage::reader> reader_;
};

/// How many bytes of `text`, which begins somewhere in a log, belong to a character that began
/// before it: 0 to 3, and 0 where `text` is no UTF-8.
std::size_t rest_of_character(std::string_view text) {
  std::size_t n = 0;
  while (n < text.size() && n < 4 && (static_cast<unsigned char>(text[n]) & 0xc0U) == 0x80U)
    ++n;
  return n < 4 ? n : 0;
}

/// What the system just said of a log file.
error unreadable_log(const std::filesystem::path& file) {
  auto why = errno;
  return make_error(errc::io, "cannot read the log " + file.string(), std::strerror(why));
}

/// Up to `size` bytes from `offset`; none when they cannot be read, and errno says why.
std::optional<std::string> log_bytes_at(int fd, std::uint64_t offset, std::size_t size) {
  std::string out(size, '\0');
  ssize_t n = -1;
  do
    n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
  while (n < 0 && errno == EINTR);
  if (n < 0) return std::nullopt;
  out.resize(static_cast<std::size_t>(n));
  return out;
}

} // namespace

namespace {

/// One try. `overtaken`: what was read may have been freed meanwhile, and zeros been read instead.
result<log_read_reply> read_log_once(const std::filesystem::path& logs, const pane_record& pane,
                                     const log_read_request& want, bool& overtaken) {
  log_read_reply out;
  out.generation = want.generation == 0 ? pane.attempt : want.generation;
  out.closed = pane.state == pane_phase::closed || out.generation < pane.attempt;
  auto file =
      logs / pane.swarm.value / (pane.pane.value + "." + std::to_string(out.generation) + ".log");
  transfer::unique_fd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd && errno == ENOENT) return out; // nothing was written yet
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return unreadable_log(file);
  out.end_offset = static_cast<std::uint64_t>(st.st_size);
  out.begin_offset = transfer::kept_from(fd.get());
  auto offset =
      want.offset >= 0
          ? static_cast<std::uint64_t>(want.offset)
          : out.end_offset - std::min(out.end_offset, 0 - static_cast<std::uint64_t>(want.offset));
  out.offset = std::min(std::max(offset, out.begin_offset), out.end_offset);
  auto data = log_bytes_at(
      fd.get(), out.offset,
      std::min<std::uint64_t>({out.end_offset - out.offset, want.max_bytes, most_log_bytes}));
  // An empty answer would mean that the log ends here, or that more is to come.
  if (!data) return unreadable_log(file);
  overtaken = !data->empty() && transfer::kept_from(fd.get()) > out.offset;
  out.data.data = std::move(*data);
  if (want.offset < 0 && out.offset > out.begin_offset && out.data.data.size() > 3) {
    auto cut = rest_of_character(out.data.data);
    out.data.data.erase(0, cut);
    out.offset += cut;
  }
  return out;
}

} // namespace

result<log_read_reply> read_log(const std::filesystem::path& logs, const pane_record& pane,
                                const log_read_request& want) {
  for (int tries = 0;; ++tries) {
    bool overtaken = false;
    auto out = read_log_once(logs, pane, want, overtaken);
    if (!overtaken) return out;
    // A log that is trimmed faster than it is read is asked for again by whoever wants it.
    if (tries == most_log_tries)
      return make_error(errc::timed_out, "the log is trimmed faster than it is read");
  }
}

desk_actor spawn_query_desk(caf::scheduled_actor* parent, directory_ptr handles, daemon_facts facts,
                            std::function<result<storage::reader>()> open) {
  return parent->spawn<query_desk_impl, caf::detached>(std::move(handles), std::move(facts),
                                                       std::move(open));
}

desk_actor spawn_query_desk_undetached(caf::scheduled_actor* parent, directory_ptr handles,
                                       daemon_facts facts,
                                       std::function<result<storage::reader>()> open) {
  return parent->spawn<query_desk_impl>(std::move(handles), std::move(facts), std::move(open));
}

} // namespace skep::actors
