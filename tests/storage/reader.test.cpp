#include "storage/reader.hpp"
#include "messages/commands.hpp"
#include "storage/chunk_scan.hpp"
#include "tests/storage/support.hpp"

#include <random>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

/// 30 chunks of 1 to 3 events: swarms 1 and 2 with sandboxes 1 and 2 each, and the daemon's.
std::vector<chunk> fill(journal& j) {
  std::vector<chunk> all;
  for (int k = 0; k < 30; ++k) {
    chunk c;
    if (k % 5 != 0) c.swarm = swarm_no(1 + k % 2);
    if (k % 5 > 1) c.sandbox = sandbox_no(10 * (1 + k % 2) + k % 3);
    for (int e = 0; e <= k % 3; ++e)
      add(c, k, note_of("event " + std::to_string(k)));
    REQUIRE(write(j, c).code == errc::none);
    all.push_back(c);
  }
  return all;
}

constexpr std::uint64_t mib = 1 << 20;

/// Sandbox no `n`, in a swarm of its own, and its upload of so much in `ms`.
void upload(journal& j, int n, std::uint64_t size_bytes, std::int64_t ms,
            const std::string& provider = "local", const swarm_spec& spec = {}) {
  auto w = swarm_no(n);
  auto s = sandbox_no(n);
  auto t = 100'000 * n;
  transfer_id id{"tr_" + std::to_string(n)};
  auto made = a_swarm();
  made.spec.data = pack(spec);
  REQUIRE(put(j, w, {}, t, made) == errc::none);
  REQUIRE(put(j, w, s, t, sandbox_queued{0, provider}) == errc::none);
  REQUIRE(put(j, w, s, t, transfer_intended{id, transfer_direction::upload, {}, 3, size_bytes})
          == errc::none);
  REQUIRE(put(j, w, s, t + ms, transfer_done{id, 3, size_bytes, "aa"}) == errc::none);
}

} // namespace

TEST_CASE("how fast uploads were is the median of the last five to that provider") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto measured = [&](std::string_view provider) {
    auto x = r->uploads(provider);
    if (!x) FAIL(render(x.err()));
    return std::pair{x->count, x->bytes_per_s};
  };
  using counted = std::pair<std::uint32_t, std::uint64_t>;
  CHECK(measured("local") == counted{0, 0});
  upload(j, 1, 90 * mib, 1000); // the sixth from the end
  CHECK(measured("local") == counted{1, 90 * mib});
  upload(j, 2, 2 * mib, 1000);
  CHECK(measured("local") == counted{2, 2 * mib}); // of two the slower one
  upload(j, 3, 80 * mib, 2000, "cloud");
  upload(j, 4, 4 * mib, 1000);
  upload(j, 5, 6 * mib, 2000);
  upload(j, 6, mib, 1000);
  upload(j, 7, 70 * mib, 1000);
  CHECK(measured("local") == counted{5, 3 * mib}); // of 1, 2, 3, 4 and 70
  CHECK(measured("cloud") == counted{1, 40 * mib});
  CHECK(measured("elsewhere") == counted{0, 0});
}

TEST_CASE("an upload that was small, failed, had a setup, took no time or went again in its "
          "sandbox measures nothing") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  swarm_spec with_setup;
  with_setup.setup = {"make"};
  upload(j, 1, mib - 1, 1000);
  upload(j, 2, 8 * mib, 1000, "local", with_setup);
  upload(j, 3, 8 * mib, 0);
  upload(j, 4, 8 * mib, 1000);
  transfer_intended again{{"tr_again"}, transfer_direction::upload, {}, 3, 8 * mib};
  REQUIRE(put(j, swarm_no(4), sandbox_no(4), 500'000, again) == errc::none);
  REQUIRE(put(j, swarm_no(4), sandbox_no(4), 501'000,
              transfer_failed{again.transfer, make_error(errc::network)})
          == errc::none);
  REQUIRE(put(j, swarm_no(1), sandbox_no(1), 600'000,
              transfer_intended{{"tr_down"}, transfer_direction::download, {}, 0, 0})
          == errc::none);
  REQUIRE(put(j, swarm_no(1), sandbox_no(1), 601'000, transfer_done{{"tr_down"}, 3, 8 * mib, "aa"})
          == errc::none);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto measured = r->uploads("local");
  REQUIRE(measured.ok());
  CHECK(measured->count == 0);
  CHECK(measured->bytes_per_s == 0);
}

TEST_CASE("a replay from any number gives every chunk of its selection once") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto all = fill(j);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  std::vector<std::pair<swarm_id, sandbox_id>> selections = {{{}, {}},
                                                             {swarm_no(1), {}},
                                                             {swarm_no(2), {}},
                                                             {{}, sandbox_no(12)},
                                                             {swarm_no(1), sandbox_no(11)},
                                                             {swarm_no(2), sandbox_no(11)},
                                                             {swarm_no(3), {}}};
  for (const auto& [w, s] : selections) {
    for (std::uint64_t from = 0; from <= j.head() + 2; ++from) {
      std::vector<std::uint64_t> expected, got;
      for (const auto& c : all)
        if ((w.empty() || c.swarm == w) && (s.empty() || c.sandbox == s) && c.last_seq() >= from)
          expected.push_back(c.first_seq);
      chunk_selector want{from, w, s, 4, 1 << 20};
      for (;;) {
        auto page = r->read_chunks(want);
        REQUIRE(page.ok());
        REQUIRE(page->chunks.size() <= 4);
        for (const auto& c : page->chunks)
          got.push_back(c.first_seq);
        if (page->next > page->head) break;
        REQUIRE(page->next > want.from);
        want.from = page->next;
      }
      REQUIRE(got == expected);
    }
  }
}

TEST_CASE("a page is bounded in bytes and holds at least one chunk") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  for (int i = 0; i < 5; ++i) {
    auto c = chunk_of({}, {}, 1, note_of(std::string(1000, 'x')));
    REQUIRE(write(j, c).code == errc::none);
  }
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  CHECK(r->read_chunks({1, {}, {}, 64, 10}).value().chunks.size() == 1);
  CHECK(r->read_chunks({1, {}, {}, 64, 2500}).value().chunks.size() == 2);
  CHECK(r->read_chunks({1, {}, {}, 64, 2500}).value().next == 3);
  CHECK(r->read_chunks({0, {}, {}, 0, 0}).value().chunks.size() == 1);
}

TEST_CASE("trimmed history is said to be compacted and names the oldest event") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    fill(j);
  }
  {
    auto db = connection::open(dir / "skep.db");
    REQUIRE(db.ok());
    REQUIRE(db->run("DELETE FROM chunks WHERE first_seq < 10").ok());
  }
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto oldest = r->oldest().value();
  CHECK(oldest >= 10);
  auto page = r->read_chunks({});
  REQUIRE(!page.ok());
  CHECK(page.err().code == errc::compacted);
  CHECK(page.err().message == "oldest=" + std::to_string(oldest));
  CHECK(r->read_chunks({oldest, {}, {}, 1, 1}).ok());
  auto j = open_journal(dir / "skep.db");
  CHECK(j.oldest() == oldest);
}

TEST_CASE("a reader sees nothing before its commit and does not hold the writer up") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto c = chunk_of({}, {}, 1, note_of("x"));
  REQUIRE(j.begin().ok());
  REQUIRE(j.append(c).ok());
  CHECK(r->head().value() == 0);
  REQUIRE(j.commit().ok());
  CHECK(r->head().value() == 1);
  CHECK(r->stream_id().value() == j.stream_id());
}

TEST_CASE("the quick scan of a chunk accepts what the reader of events accepts") {
  // Bodies that are whole, cut short, or damaged in one byte.
  std::mt19937 random{7};
  chunk whole;
  add(whole, 1'700'000'000'000, note_of("text"));
  add(whole, -5, pane_usage{pane_no(1), 0.5, 70'000, 5'000'000'000, 3, std::string(300, 's')});
  add(whole, 0, sandbox_degraded{std::vector<pane_id>(20, pane_no(2))});
  add(whole, 7,
      swarm_created{
          "n", "/r", "p", agent_kind::claude, 1, 1, true, "/o", {std::string(70'000, '\0')}});
  auto readable = [](std::string_view body, std::uint32_t& count) {
    count = 0;
    for (event_reader events{body}; !events.done(); ++count)
      if (!events.next()) return false;
    return count > 0;
  };
  std::vector<event_place> places;
  std::uint32_t count = 0;
  REQUIRE(readable(whole.body.data, count));
  REQUIRE(scan_chunk(whole.body.data, count, places).ok());
  CHECK(places.size() == 4);
  CHECK(places[2].type == 47);
  CHECK(places[3].offset + places[3].size == whole.body.data.size());
  int disagreements = 0;
  for (int i = 0; i < 4000; ++i) {
    auto body = whole.body.data.substr(0, i % 2 == 0 ? whole.body.data.size() : 600);
    if (i % 4 == 1) body.resize(random() % body.size());
    if (i % 4 != 1) body[random() % 600] = static_cast<char>(random());
    bool good = readable(body, count);
    bool scanned = scan_chunk(body, count, places).ok();
    // The scan may refuse more (it counts nesting more strictly), never accept more.
    if (scanned && !good) ++disagreements;
    if (good && !scanned) ++disagreements;
  }
  CHECK(disagreements == 0);
}

TEST_CASE("nesting beyond what readers accept is refused") {
  std::vector<event_place> places;
  for (std::size_t depth : {1u, 10u, 29u, 30u, 31u, 32u, 33u, 100u, 5000u}) {
    std::string body = "\x93\x06";
    body += '\x01';
    body += std::string(depth, '\x91') + '\xc0';
    event_reader events{body};
    bool good = events.next().ok();
    CHECK((!scan_chunk(body, 1, places).ok() || good));
    if (depth <= 29) CHECK(scan_chunk(body, 1, places).ok());
  }
}
