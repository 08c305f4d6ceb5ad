#include "guest/follow.hpp"
#include "tests/guest/guest.hpp"

using namespace skep;
using namespace skep::test;

namespace {
// 2 MB of numbered lines.
constexpr const char* numbered = "i=0; while [ $i -lt 100 ]; do seq -f 'line %018.0f' $((i*1000)) "
                                 "$((i*1000+999)); i=$((i+1)); done";
} // namespace

TEST_CASE("a follower sends every byte of every pane, in order, then the exit") {
  pane_dir p;
  REQUIRE(p.start({"sh", "-c", numbered}).j["state"] == "started");
  follower f{p.root(), 1};
  auto other = pane_id::make();
  auto other_dir = p.root() + "/" + other.value + "/3";
  // A pane that appears while the follower runs.
  auto a = test::guest({"pane", "--dir", other_dir, "--cwd", p.path, "--epoch", "1", "--", "sh",
                        "-c", "echo late; exit 9"});
  CHECK(a.j["state"] == "started");
  auto seen = f.until_exits(2);
  CHECK(seen.in_order);
  CHECK(seen.largest <= 32 * 1024);
  auto& text = seen.text[{p.id.value, 1}];
  CHECK(text.size() == 100000 * 24);
  CHECK((text == p.log()));
  CHECK(seen.exits[{p.id.value, 1}].final_offset == text.size());
  CHECK(seen.text[{other.value, 3}] == "late\n");
  CHECK(seen.exits[{other.value, 3}].exit_code == 9);
}

TEST_CASE("a follower goes on from the offset it is given and leaves earlier attempts out") {
  pane_dir p;
  p.start({"echo", "first attempt"});
  p.start({"echo", "0123456789"}, {}, 2);
  p.start({"echo", "third"}, {}, 3);
  REQUIRE((p.await_exit(1) && p.await_exit(2) && p.await_exit(3)));
  follower f{p.root(), 1, {"--from", p.id.value + ":2:4"}};
  std::map<std::uint32_t, std::string> text;
  std::map<std::uint32_t, std::uint64_t> offset;
  std::size_t exits = 0;
  CHECK(f.read([&](follow_reader::frame& frame) {
    follow_data d;
    if (frame.kind == follow_kind::data && unpack_value(frame.body.get(), d)) {
      if (text[d.generation].empty()) offset[d.generation] = d.offset;
      text[d.generation] += d.data.data;
    }
    return frame.kind == follow_kind::exit && ++exits == 2;
  }));
  CHECK(text.size() == 2);
  CHECK(text[2] == "456789\n");
  CHECK(offset[2] == 4);
  CHECK(text[3] == "third\n");
}

TEST_CASE("hello comes first and names version and epoch") {
  pane_dir p;
  std::filesystem::create_directories(p.root());
  follower f{p.root(), 5};
  follow_hello hello;
  CHECK(f.read([&](follow_reader::frame& frame) {
    CHECK(frame.kind == follow_kind::hello);
    CHECK(unpack_value(frame.body.get(), hello));
    return true;
  }));
  CHECK(hello.epoch == 5);
  CHECK(test::guest({"--version"}).text == "skep-guest " + hello.version + "\n");
}

TEST_CASE("a newer follower or epoch ends the older one, an older epoch is refused") {
  pane_dir p;
  std::filesystem::create_directories(p.root());
  auto hello = [](follow_reader::frame& f) { return f.kind == follow_kind::hello; };
  auto failure = [](follow_reader::frame& f) { return f.kind == follow_kind::failure; };
  follower one{p.root(), 1};
  REQUIRE(one.read(hello));
  follower two{p.root(), 1};
  REQUIRE(two.read(hello));
  CHECK(one.read(failure));
  CHECK(one.wait() == 3);
  follower three{p.root(), 2};
  REQUIRE(three.read(hello));
  CHECK(two.read(failure));
  CHECK(two.wait() == 3);
  follower stale{p.root(), 1};
  CHECK(stale.read(failure));
  CHECK(stale.wait() == 3);
  // A pane of a newer daemon ends followers too.
  CHECK(p.start({"true"}, {}, 1, 3).exit_code == 0);
  CHECK(three.read(failure));
  CHECK(three.wait() == 3);
  REQUIRE(p.await_exit());
}

TEST_CASE("a follower ends at its deadline and when nobody reads any more") {
  pane_dir p;
  std::filesystem::create_directories(p.root());
  follower one{p.root(), 1, {"--deadline-s", "1"}};
  CHECK(one.read([](auto&) { return false; }));
  CHECK(one.ended());
  CHECK(one.wait() == 0);
  follower two{p.root(), 1};
  two.close_reader();
  CHECK(two.wait() == 0);
}

TEST_CASE("a follower stuck with a reader that does not read is ended by a newer one") {
  pane_dir p;
  p.start({"sh", "-c", numbered});
  REQUIRE(p.await_exit());
  follower stuck{p.root(), 1};
  follow_reader::frame frame;
  REQUIRE(stuck.read([](follow_reader::frame& f) { return f.kind == follow_kind::data; }));
  follower fresh{p.root(), 1};
  CHECK(fresh.until_exits(1).text.begin()->second.size() == 100000 * 24);
  CHECK(stuck.wait() == 3);
}

TEST_CASE("killing a follower leaves the holder and its agent untouched") {
  pane_dir p;
  auto pid = p.start({"sh", "-c", "echo one; read x; echo two"}, {"--stdin", "open"}).j["pid"];
  {
    follower f{p.root(), 1};
    REQUIRE(f.read([](follow_reader::frame& frame) { return frame.kind == follow_kind::data; }));
  } // killed
  CHECK(alive(pid));
  follower f{p.root(), 1, {"--from", p.id.value + ":1:4"}};
  CHECK(test::guest({"input", "--dir", p.dir(), "--key", "k"}, "\n").j["state"] == "written");
  auto seen = f.until_exits(1, 4);
  CHECK(seen.in_order);
  CHECK(seen.text.begin()->second == "two\n");
}

TEST_CASE("a follower notices a holder that was killed and reports its pane's end") {
  pane_dir p;
  p.start({"sh", "-c", "echo text; exec sleep 60"});
  follower f{p.root(), 1};
  REQUIRE(f.read([](follow_reader::frame& frame) { return frame.kind == follow_kind::data; }));
  int agent = 0, holder = 0;
  std::istringstream{get(p.dir() + "/pid")} >> agent >> holder;
  REQUIRE(::kill(holder, SIGKILL) == 0);
  auto seen = f.until_exits(1);
  CHECK(seen.exits.begin()->second.signal == SIGKILL);
  CHECK(seen.exits.begin()->second.exit_code == -1);
  CHECK(seen.exits.begin()->second.final_offset == 5);
}

TEST_CASE("silence is filled with pulses") {
  temp t;
  int fds[2];
  REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
  guest::follow_options o;
  o.root = t / "panes";
  o.epoch = 1;
  o.limit = std::chrono::seconds{1};
  o.pulse = std::chrono::milliseconds{100};
  o.out_fd = fds[1];
  CHECK(guest::follow(o).ok());
  ::close(fds[1]);
  std::string text(64 * 1024, '\0');
  auto n = ::read(fds[0], text.data(), text.size());
  ::close(fds[0]);
  REQUIRE(n > 0);
  follow_reader reader;
  reader.feed({text.data(), static_cast<std::size_t>(n)});
  std::uint64_t pulses = 0;
  for (follow_reader::frame f; *reader.next(f);)
    if (follow_pulse pulse; f.kind == follow_kind::pulse && unpack_value(f.body.get(), pulse))
      CHECK(pulse.count == ++pulses);
  CHECK(pulses >= 3);
}

TEST_CASE("known offsets are parsed strictly") {
  CHECK(guest::parse_known_offset("pn_abc:2:77")->offset == 77);
  for (const char* bad : {"", "pn_abc", "pn_abc:1", "sb_abc:1:2", "pn_abc:x:2", "pn_abc:1:-2",
                          "pn_abc:1:2:3", "pn_abc::"})
    CHECK_FALSE(guest::parse_known_offset(bad).ok());
}
