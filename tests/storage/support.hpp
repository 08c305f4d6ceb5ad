// What the tests of storage share: a directory that goes away, chunks of events, a small story.
#pragma once

#include "messages/event_io.hpp"
#include "storage/journal.hpp"
#include "tests/support/catch.hpp"

#include <cstdlib>
#include <filesystem>

namespace skep::storage::testing {

namespace fs = std::filesystem;

/// A fresh directory (0700), removed at the end with all it holds.
class temp_dir {
public:
  temp_dir() {
    auto pattern = (fs::temp_directory_path() / "skep-storage-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~temp_dir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const char* name) const { return path_ / name; }

private:
  fs::path path_;
};

constexpr utc_time at(std::int64_t ms) {
  return utc_time{std::chrono::milliseconds{ms}};
}

/// Ids that can be told apart when a test fails.
inline swarm_id swarm_no(int n) {
  return {"sw_test" + std::to_string(n)};
}
inline sandbox_id sandbox_no(int n) {
  return {"sb_test" + std::to_string(n)};
}
inline pane_id pane_no(int n) {
  return {"pn_test" + std::to_string(n)};
}

template <event E>
void add(chunk& c, std::int64_t at_ms, const E& e) {
  pack_event(c.body.data, at(at_ms), e);
  ++c.count;
}

template <event... Es>
chunk chunk_of(const swarm_id& w, const sandbox_id& s, [[maybe_unused]] std::int64_t at_ms,
               const Es&... es) {
  chunk c;
  c.swarm = w;
  c.sandbox = s;
  (add(c, at_ms, es), ...);
  return c;
}

inline journal_options quick_options() {
  journal_options o;
  o.disk.low_water_bytes = 0;
  o.disk.reserve_bytes = 0;
  return o;
}

inline journal open_journal(const fs::path& file, const journal_options& o = quick_options()) {
  auto j = journal::open(file, o);
  if (!j) FAIL(render(j.err()));
  return std::move(*j);
}

/// Appends in a transaction of its own; the error of the append, or none.
inline error write(journal& j, chunk& c) {
  REQUIRE(j.begin().ok());
  auto n = j.append(c);
  REQUIRE(j.commit().ok());
  return n ? error{} : n.err();
}

template <event... Es>
errc put(journal& j, const swarm_id& w, const sandbox_id& s, std::int64_t at_ms, const Es&... es) {
  auto c = chunk_of(w, s, at_ms, es...);
  return write(j, c).code;
}

inline notice note_of(std::string text) {
  return {severity::info, "test", std::move(text)};
}

inline swarm_created a_swarm() {
  return {"demo",
          "/repo",
          "local",
          agent_kind::command,
          2,
          2,
          false,
          "/out",
          {std::string("\x81\x01\xa0", 3)}};
}

/// A swarm with one running sandbox (no 1) and one running pane (no 1), from `start_ms` on.
inline void begin_story(journal& j, int swarm = 1, int sandbox = 1, int pane = 1,
                        std::int64_t t = 1000) {
  auto w = swarm_no(swarm);
  auto s = sandbox_no(sandbox);
  auto p = pane_no(pane);
  REQUIRE(put(j, w, {}, t, a_swarm()) == errc::none);
  REQUIRE(put(j, w, s, t + 1, sandbox_queued{0, "local"}) == errc::none);
  REQUIRE(
      put(j, w, s, t + 2, phase_changed{phase::creating, 1}, create_intended{"in1", "base", 120000})
      == errc::none);
  REQUIRE(put(j, w, s, t + 3, sandbox_created{"in1", "remote" + std::to_string(sandbox), "0.2"})
          == errc::none);
  REQUIRE(put(j, w, s, t + 4, phase_changed{phase::running, 2},
              pane_created{p, 0, "p0", agent_kind::command, "skep/p0"}, pane_start_intended{p, 1})
          == errc::none);
  REQUIRE(put(j, w, s, t + 5, pane_started{p, 1, 4711}) == errc::none);
}

} // namespace skep::storage::testing
