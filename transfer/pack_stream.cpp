#include "transfer/pack_stream.hpp"

#include "transfer/piece_codec.hpp"
#include "transfer/read_content.hpp"
#include "transfer/sha256.hpp"
#include "transfer/tar_format.hpp"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::size_t piece_bytes = 1024 * 1024;
constexpr unsigned most_workers = 4;

/// A file whose content is in pieces that are under way.
struct content_in_work {
  std::size_t index = 0; ///< Of its entry.
  std::string path;
  sha256 hash;
  std::unique_ptr<content_stream> seen;
  std::uint64_t done = 0; ///< Bytes looked at; guarded while the content goes on in another piece.
  std::string hex;        ///< When it is done.
};

/// What of a content is in one piece.
struct segment {
  std::shared_ptr<content_in_work> content;
  std::size_t at = 0, bytes = 0;
  std::uint64_t offset = 0; ///< In the content.
  bool last = false;
};

struct tar_piece {
  std::string tar = std::string(piece_bytes, '\0');
  std::size_t used = 0;
  std::vector<segment> segments;
  std::string out;
  std::size_t out_bytes = 0;
  bool ready = false;
};

} // namespace

unsigned usual_workers() {
  return std::clamp(std::thread::hardware_concurrency(), 1u, most_workers);
}

struct pack_stream::state {
  std::string path;
  unique_fd file;
  const std::atomic<bool>* cancel = nullptr;
  content_watcher* watcher = nullptr;
  std::size_t most_pieces = 0;
  std::vector<std::unique_ptr<piece_codec>> codecs; ///< One a worker.
  std::vector<file_entry> entries;
  sha256 hash;
  std::uint64_t bytes = 0;

  std::unique_ptr<tar_piece> filling;             ///< Never full.
  std::deque<std::unique_ptr<tar_piece>> pending; ///< Under way, in order.
  std::vector<std::unique_ptr<tar_piece>> spare;

  std::mutex mutex;
  std::condition_variable for_workers, for_contents, for_caller;
  std::deque<tar_piece*> queue; ///< Of `pending`: not taken yet.
  bool stop = false;
  error trouble; ///< The first of a worker.
  std::vector<std::thread> workers;

  state() = default;
  state(const state&) = delete;
  ~state() {
    {
      std::lock_guard lock{mutex};
      stop = true;
    }
    for_workers.notify_all();
    for_contents.notify_all();
    for (auto& t : workers)
      t.join();
  }

  // ---- workers

  void work(piece_codec& codec) {
    for (;;) {
      tar_piece* p = nullptr;
      {
        std::unique_lock lock{mutex};
        for_workers.wait(lock, [&] { return stop || !queue.empty(); });
        if (stop) return;
        p = queue.front();
        queue.pop_front();
      }
      error why;
      try {
        why = process(*p, codec);
      } catch (const std::exception& e) {
        why = make_error(errc::internal, "packing", e.what());
      }
      std::lock_guard lock{mutex};
      p->ready = true;
      if (why && !trouble) trouble = why;
      if (trouble) stop = true;
      for_caller.notify_one();
      if (!stop) continue;
      for_workers.notify_all();
      for_contents.notify_all();
    }
  }

  error process(tar_piece& p, piece_codec& codec) {
    std::string_view tar{p.tar.data(), p.used};
    auto n = codec.compress(tar, p.out);
    if (!n) return n.err();
    p.out_bytes = *n;
    for (const auto& s : p.segments)
      if (!look_at(s, tar.substr(s.at, s.bytes))) break;
    return {};
  }

  /// False when everything ends. Whoever is waited for works on an earlier piece.
  bool look_at(const segment& s, std::string_view text) {
    auto& c = *s.content;
    if (s.offset > 0) {
      std::unique_lock lock{mutex};
      for_contents.wait(lock, [&] { return stop || c.done == s.offset; });
      if (stop) return false;
    }
    if (s.offset == 0 && watcher) c.seen = watcher->begin(c.path);
    c.hash.update(text);
    if (c.seen && s.last && s.offset == 0)
      c.seen->whole(text);
    else if (c.seen && !text.empty())
      c.seen->data(text);
    if (s.last) {
      if (c.seen && s.offset > 0) c.seen->end();
      c.seen.reset();
      c.hex = c.hash.hex();
      return true;
    }
    std::lock_guard lock{mutex};
    c.done = s.offset + s.bytes;
    for_contents.notify_all();
    return true;
  }

  // ---- the caller

  /// Waits for the first piece under way and writes what became of it.
  result<void> retire() {
    auto& p = *pending.front();
    {
      std::unique_lock lock{mutex};
      for_caller.wait(lock, [&] { return p.ready || stop; });
      if (trouble) return trouble;
    }
    for (auto& s : p.segments)
      if (s.last) entries[s.content->index].sha256 = std::move(s.content->hex);
    std::string_view out{p.out.data(), p.out_bytes};
    if (auto written = write_all(file.get(), out); !written) {
      auto e = written.err();
      e.message = path;
      return e;
    }
    hash.update(out);
    bytes += out.size();
    p.segments.clear();
    spare.push_back(std::move(pending.front()));
    pending.pop_front();
    return {};
  }

  result<void> submit() {
    while (pending.size() >= most_pieces)
      if (auto done = retire(); !done) return done;
    filling->ready = false;
    pending.push_back(std::move(filling));
    {
      std::lock_guard lock{mutex};
      queue.push_back(pending.back().get());
    }
    for_workers.notify_one();
    return {};
  }

  tar_piece& room() {
    if (filling) return *filling;
    if (spare.empty()) {
      filling = std::make_unique<tar_piece>();
    } else {
      filling = std::move(spare.back());
      spare.pop_back();
    }
    filling->used = 0;
    return *filling;
  }

  result<void> submit_full() {
    return filling && filling->used == piece_bytes ? submit() : result<void>{};
  }

  result<void> append(std::string_view text) {
    while (!text.empty()) {
      auto& p = room();
      auto part = text.substr(0, piece_bytes - p.used);
      std::copy(part.begin(), part.end(), p.tar.begin() + static_cast<std::ptrdiff_t>(p.used));
      p.used += part.size();
      text.remove_prefix(part.size());
      if (auto done = submit_full(); !done) return done;
    }
    return {};
  }

  /// The content of the last entry, straight into pieces.
  result<void> add_content(int fd) {
    const auto& entry = entries.back();
    auto content = std::make_shared<content_in_work>();
    content->index = entries.size() - 1;
    content->path = entry.path;
    std::uint64_t offset = 0;
    content_taker to;
    to.room = [this](std::uint64_t) {
      auto& p = room();
      return std::span{p.tar.data() + p.used, piece_bytes - p.used};
    };
    to.take = [&](std::size_t n, bool last) {
      auto& p = *filling;
      p.segments.push_back({content, p.used, n, offset, last});
      p.used += n;
      offset += n;
      return submit_full();
    };
    if (auto done = read_content(fd, entry, cancel, to); !done) return done;
    return append(std::string(tar_padding(entry.size), '\0'));
  }
};

pack_stream::pack_stream(std::unique_ptr<state> s) : s_(std::move(s)) {}
pack_stream::pack_stream(pack_stream&&) noexcept = default;
pack_stream::~pack_stream() = default;

result<pack_stream> pack_stream::create(const std::string& path,
                                        const pack_stream_options& options) {
  auto s = std::make_unique<state>();
  auto count = options.workers > 0 ? options.workers : usual_workers();
  for (unsigned i = 0; i < count; ++i) {
    auto codec = piece_codec::make(options.form);
    if (!codec) return codec.err();
    s->codecs.push_back(std::move(*codec));
  }
  // Not truncated: what is there may have a second name.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error(path, errno);
  s->file = unique_fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!s->file) return io_error(path, errno);
  s->path = path;
  s->cancel = options.cancel;
  s->watcher = options.watcher;
  s->most_pieces = 2 * count + 1; // and the one that is filled
  for (auto& codec : s->codecs)
    s->workers.emplace_back([raw = s.get(), c = codec.get()] { raw->work(*c); });
  return pack_stream{std::move(s)};
}

void pack_stream::expect(std::size_t files) {
  s_->entries.reserve(files);
}

result<void> pack_stream::add(opened_entry from) {
  auto& s = *s_;
  const auto& entry = s.entries.emplace_back(std::move(from.entry));
  if (auto head = s.append(tar_header(entry, from.mtime_s, from.link_target)); !head) return head;
  if (entry.type == file_entry::kind::file) return s.add_content(from.file.get());
  if (s.watcher) {
    s.watcher->begin(entry.path)->whole(from.link_target);
  }
  return {};
}

result<pack_stream::finished> pack_stream::finish() {
  auto& s = *s_;
  if (auto done = s.append(std::string(tar_end_bytes, '\0')); !done) return done.err();
  if (s.filling)
    if (auto done = s.submit(); !done) return done.err();
  while (!s.pending.empty())
    if (auto done = s.retire(); !done) return done.err();
  return finished{s.bytes, s.hash.hex(), std::move(s.entries)};
}

} // namespace skep::transfer
