#include "storage/reader.hpp"
#include "tests/storage/support.hpp"

#include <sys/stat.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

TEST_CASE("a chunk comes back from the journal byte for byte") {
  temp_dir dir;
  auto c = chunk_of(swarm_no(1), sandbox_no(1), 5, note_of("one"), note_of("two"));
  auto original = c.body.data;
  {
    auto j = open_journal(dir / "skep.db");
    CHECK(j.head() == 0);
    CHECK(j.oldest() == 1);
    CHECK(write(j, c).code == errc::none);
    CHECK(j.head() == 2);
  }
  CHECK(c.first_seq == 1);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto page = r->read_chunks({});
  REQUIRE(page.ok());
  REQUIRE(page->chunks.size() == 1);
  const auto& got = page->chunks.front();
  CHECK(same(got, c));
  CHECK(got.body.data == original);
  CHECK(page->next == 3);
  CHECK(page->head == 2);
}

TEST_CASE("the database and its log are private files", "[owasp-a01]") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto c = chunk_of({}, {}, 1, note_of("x"));
  CHECK(write(j, c).code == errc::none);
  for (const auto* name : {"skep.db", "skep.db-wal", "skep.db-shm"}) {
    struct stat s {};
    REQUIRE(::stat((dir / name).c_str(), &s) == 0);
    CHECK((s.st_mode & 0777) == 0600);
  }
}

TEST_CASE("numbers are dense and previous numbers are right with interleaved sandboxes") {
  temp_dir dir;
  std::uint64_t last_of[3][4] = {}; // [swarm][sandbox], sandbox 0: the swarm's own chunks
  std::uint64_t last_in_swarm[3] = {};
  std::uint64_t head = 0;
  std::string stream;
  for (int round = 0; round < 3; ++round) { // reopening forgets nothing
    auto j = open_journal(dir / "skep.db");
    CHECK(j.head() == head);
    if (round == 0) stream = j.stream_id();
    CHECK(j.stream_id() == stream);
    for (int k = 0; k < 60; ++k) {
      int w = k % 3;
      int s = w == 0 ? 0 : (k * 7) % 4;
      chunk c;
      if (w > 0) c.swarm = swarm_no(w);
      if (s > 0) c.sandbox = sandbox_no(10 * w + s);
      for (int e = 0; e <= k % 5; ++e)
        add(c, k, note_of("n"));
      REQUIRE(write(j, c).code == errc::none);
      REQUIRE(c.first_seq == head + 1);
      REQUIRE(c.previous_in_sandbox == (s > 0 ? last_of[w][s] : 0));
      REQUIRE(c.previous_in_swarm == (w > 0 ? last_in_swarm[w] : 0));
      head = c.last_seq();
      if (s > 0) last_of[w][s] = head;
      if (w > 0) last_in_swarm[w] = head;
    }
  }
}

TEST_CASE("a bad chunk in the middle of a transaction leaves its neighbours") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  begin_story(j);
  auto w = swarm_no(1);
  auto before = j.head();

  auto good1 = chunk_of(w, sandbox_no(1), 10, base_recorded{"abc", false, 1, 2, "ff"});
  // Its first fact fits and its second does not: neither may stay.
  auto bad = chunk_of(w, sandbox_no(1), 11, base_recorded{"never", false, 1, 2, "ff"},
                      phase_changed{phase::creating, 0});
  auto bad_new = chunk_of(w, sandbox_no(9), 11, note_of("x"), kill_intended{"there is none"});
  auto good2 = chunk_of(w, {}, 12, swarm_phase_changed{swarm_phase::running, "go"});
  REQUIRE(j.begin().ok());
  CHECK(j.append(good1).ok());
  auto refused = j.append(bad);
  REQUIRE(!refused.ok());
  CHECK(refused.err().code == errc::wrong_phase);
  CHECK(bad.first_seq == 0);
  auto refused_new = j.append(bad_new);
  REQUIRE(!refused_new.ok());
  CHECK(refused_new.err().code == errc::not_found);
  CHECK(j.append(good2).ok());
  CHECK_FALSE(j.broken());
  REQUIRE(j.commit().ok());

  CHECK(good1.first_seq == before + 1);
  CHECK(good2.first_seq == before + 2);
  CHECK(good2.previous_in_swarm == before + 1);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  CHECK(r->sandbox(sandbox_no(1))->base_commit == "abc");
  CHECK(r->sandbox(sandbox_no(1))->state == phase::running);
  CHECK(r->swarm(w)->state == swarm_phase::running);
  // The sandbox of the refused chunk left no trace: its first chunk has no predecessor.
  auto first = chunk_of(w, sandbox_no(9), 13, note_of("hello"));
  CHECK(write(j, first).code == errc::none);
  CHECK(first.previous_in_sandbox == 0);
}

TEST_CASE("a chunk that is not what it says is refused") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto good = chunk_of(swarm_no(1), {}, 1, note_of("a"), note_of("b"));
  auto refused = [&](chunk c) { return write(j, c).code; };

  auto c = good;
  c.count = 1;
  CHECK(refused(c) == errc::bad_frame);
  c.count = 3;
  CHECK(refused(c) == errc::bad_frame);
  c = good;
  c.body.data.pop_back();
  CHECK(refused(c) == errc::bad_frame);
  c = good;
  c.body.data += '\xc1';
  c.count = 3;
  CHECK(refused(c) == errc::bad_frame);
  CHECK(refused({}) == errc::bad_frame);
  c = good;
  c.swarm.value = "sw_UPPER";
  CHECK(refused(c) == errc::bad_frame);
  c = good;
  c.swarm = {};
  c.sandbox = sandbox_no(1);
  CHECK(refused(c) == errc::bad_frame);
  // A fact's body that does not fit its type.
  c = chunk_of(swarm_no(1), {}, 1, note_of("a"));
  c.body.data[1] = 22; // swarm.closed with a notice's body
  CHECK(refused(c) == errc::bad_frame);
  CHECK(j.head() == 0);
  CHECK(refused(good) == errc::none);
  // A sandbox stays in its swarm.
  CHECK(put(j, swarm_no(1), sandbox_no(1), 1, note_of("x")) == errc::none);
  CHECK(put(j, swarm_no(2), sandbox_no(1), 1, note_of("x")) == errc::bad_frame);
}

TEST_CASE("events of unknown types are kept and change nothing") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  chunk c;
  c.swarm = swarm_no(1);
  c.count = 1;
  string_sink sink{c.body.data};
  packer p{sink};
  p.pack_array(4); // a later version may say more
  p.pack_uint32(99'999);
  p.pack_int64(5);
  p.pack_map(1);
  p.pack_uint32(1);
  p.pack_uint32(2);
  p.pack_nil();
  REQUIRE(write(j, c).code == errc::none);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto page = r->read_chunks({});
  REQUIRE(page.ok());
  event_reader events{page->chunks.at(0).body.data};
  auto e = events.next();
  REQUIRE(e.ok());
  CHECK(e->type == 99'999);
}

TEST_CASE("epochs grow by one with every daemon and an older one is refused") {
  temp_dir dir;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    auto j = open_journal(dir / "skep.db");
    auto epoch = take_epoch(j, "1.0", 100 + static_cast<std::int64_t>(n), at(10));
    REQUIRE(epoch.ok());
    CHECK(*epoch == n);
  }
  auto j = open_journal(dir / "skep.db");
  CHECK(put(j, {}, {}, 1, daemon_started{3, "1.0", 1}) == errc::stale_epoch);
  CHECK(put(j, {}, {}, 2, daemon_stopping{3, "asked"}) == errc::none);
  CHECK(put(j, {}, {}, 2, daemon_stopping{3, "twice"}) == errc::stale_epoch);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  CHECK(r->epoch().value() == 3);
}

TEST_CASE("a nearly full disk refuses notes and new work and takes facts") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    begin_story(j);
  }
  auto o = quick_options();
  o.disk.low_water_bytes = UINT64_MAX / 2; // more than any disk has
  auto j = open_journal(dir / "skep.db", o);
  auto w = swarm_no(1);
  auto s = sandbox_no(1);
  CHECK(put(j, w, s, 20, note_of("chatter")) == errc::disk_full);
  CHECK(j.disk() == disk_level::low);
  CHECK(put(j, swarm_no(2), {}, 20, a_swarm()) == errc::disk_full);
  CHECK(put(j, w, s, 20, create_intended{"in2", "base", 1}) == errc::disk_full);
  CHECK(put(j, w, s, 20, pane_exited{pane_no(1), 1, 0, 0, 5}, note_of("rides along"))
        == errc::none);
  CHECK_FALSE(j.broken());
}

TEST_CASE("the reserve is made while there is room and given back when there is none") {
  temp_dir dir;
  disk_guard plenty{dir.path(), {1, 1 << 20}};
  CHECK(plenty.refresh() == disk_level::plenty);
  CHECK(fs::file_size(dir / "reserve") == 1 << 20);
  disk_guard critical{dir.path(), {UINT64_MAX / 2, UINT64_MAX / 4}};
  CHECK(critical.refresh() == disk_level::critical);
  CHECK_FALSE(fs::exists(dir / "reserve"));
  CHECK(plenty.refresh() == disk_level::plenty);
  CHECK(fs::exists(dir / "reserve"));
}
