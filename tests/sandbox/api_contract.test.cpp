// One contract for everything that is an `api`: the real client, against real and against simulated
// sandboxes, and the stand-in that actors are tested with. What an actor relies on here, it may
// rely on everywhere.
#include "tests/sandbox/fake_api.hpp"
#include "tests/sandbox/own_host.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;
using namespace std::chrono_literals;

namespace {

/// What runs in a sandbox of the stand-in: as much as the cases ask for.
result<command_result> scripted(const command& c) {
  command_result out{0, true, "exit status 0", {}, {}, false, false};
  if (c.argv.at(0) == "echo") out.stdout_data = c.argv.at(1) + "\n";
  if (c.argv.at(0) == "false") out.exit_code = 1;
  return out;
}

/// An `api` of one kind with what it needs; `use` is nullptr where this machine cannot have it.
struct subject {
  explicit subject(const std::string& kind) {
    if (kind == "stand-in") {
      make_fake();
      return;
    }
    std::vector<std::string> more;
    if (kind == "simulated") more = {"--driver", "sim"};
    host = std::make_unique<own_host>(more);
    if (host->url().empty()) return;
    real = std::make_unique<client>(std::make_shared<http_engine>(),
                                    endpoint{kind, host->url(), host->url(), "", ""});
    use = real.get();
  }
  /// What a case left is killed: the sandboxes of a host outlive it.
  ~subject() {
    for (const auto& id : made)
      (void)kill(id);
  }
  subject(const subject&) = delete;
  subject& operator=(const subject&) = delete;
  void make_fake() {
    fake = std::make_unique<fake_api>();
    fake->now = [] { return std::chrono::system_clock::now(); };
    fake->on_run = [](const remote&, const command& c) { return scripted(c); };
    fake->on_stream = [](fake_api::stream& s) {
      auto how = scripted(s.what);
      s.emit(how->stdout_data);
      s.end(how->exit_code);
    };
    use = fake.get();
  }
  remote create(std::map<std::string, std::string> labels = {}) {
    create_params p;
    p.lease = 120s;
    p.metadata = std::move(labels);
    auto r = await<created>([&](auto t) { use->create(p, t); });
    if (!r) FAIL(render(r.err()));
    CHECK_FALSE(r->address.remote_id.empty());
    CHECK_FALSE(r->address.access_token.empty());
    made.push_back(r->address.remote_id);
    return r->address;
  }
  result<sandbox::detail> get(const std::string& id) {
    return await<sandbox::detail>([&](auto t) { use->get(id, t); });
  }
  std::vector<std::string> ids(list_filter filter) {
    auto r = await<std::vector<listed>>([&](auto t) { use->list(filter, t); });
    std::vector<std::string> out;
    if (!r) FAIL(render(r.err()));
    for (const auto& x : *r)
      out.push_back(x.remote_id);
    return out;
  }
  result<bool> kill(const std::string& id) {
    return await<bool>([&](auto t) { use->kill(id, t); });
  }

  std::vector<std::string> made;
  std::unique_ptr<own_host> host; // ends after its client
  std::unique_ptr<client> real;
  std::unique_ptr<fake_api> fake;
  api* use = nullptr;
};

command words(std::vector<std::string> argv) {
  command c;
  c.argv = std::move(argv);
  c.limit = 20s;
  return c;
}

const std::string nobody = "inosuchsandbox0000000";

void finds_and_leases(subject& s) {
  auto at = s.create({{"who", "a&b=c"}, {"n", "1"}});
  auto other = s.create({{"who", "a&b=c"}, {"n", "2"}});
  CHECK(s.ids({{{"who", "a&b=c"}, {"n", "1"}}, true, true}) == std::vector{at.remote_id});
  CHECK(s.ids({{{"who", "a&b=c"}}, true, true}).size() == 2);
  CHECK(s.ids({{{"who", "nobody"}}, true, true}).empty());

  auto before = s.get(at.remote_id);
  REQUIRE(before);
  CHECK(before->state == remote_state::running);
  CHECK(before->metadata.at("n") == "1");
  CHECK(before->address.access_token == at.access_token);
  auto lease = [&](std::chrono::seconds x) {
    CHECK(await<void>([&](auto t) { s.use->set_timeout(at.remote_id, x, t); }));
    return s.get(at.remote_id)->end_at;
  };
  auto later = lease(600s);
  CHECK(later > before->end_at);
  CHECK(lease(60s) < before->end_at);
  CHECK(s.get(nobody).err().code == errc::not_found);
  CHECK(await<void>([&](auto t) { s.use->set_timeout(nobody, 9s, t); }).err().code
        == errc::not_found);
  CHECK(*s.kill(other.remote_id));
}

void pauses_and_reconnects(subject& s) {
  auto at = s.create({{"k", "pause"}});
  auto pause = [&](const std::string& id) {
    return await<bool>([&](auto t) { s.use->pause(id, true, t); });
  };
  auto connect = [&](const std::string& id, std::chrono::seconds lease) {
    return await<created>([&](auto t) { s.use->connect(id, lease, t); });
  };
  CHECK(*pause(at.remote_id));
  CHECK_FALSE(*pause(at.remote_id));
  CHECK(s.get(at.remote_id)->state == remote_state::paused);
  CHECK(s.ids({{{"k", "pause"}}, true, false}).empty());
  CHECK(s.ids({{{"k", "pause"}}, false, true}) == std::vector{at.remote_id});
  auto again = connect(at.remote_id, 300s);
  REQUIRE(again);
  CHECK(again->resumed);
  CHECK(again->address.remote_id == at.remote_id);
  auto end = s.get(at.remote_id)->end_at;
  auto shorter = connect(at.remote_id, 10s);
  REQUIRE(shorter);
  CHECK_FALSE(shorter->resumed);
  CHECK(s.get(at.remote_id)->end_at >= end); // only ever extends
  auto longer = connect(at.remote_id, 900s);
  REQUIRE(longer);
  CHECK(s.get(at.remote_id)->end_at > end);
  CHECK(pause(nobody).err().code == errc::not_found);
  CHECK(connect(nobody, 9s).err().code == errc::not_found);
}

void runs_and_streams(subject& s) {
  auto at = s.create();
  auto run = [&](command c) {
    return await<command_result>([&](auto t) { s.use->run(at, std::move(c), t); });
  };
  auto echo = run(words({"echo", "a  $b"}));
  REQUIRE(echo);
  CHECK(echo->stdout_data == "a  $b\n");
  CHECK((echo->exited && echo->exit_code == 0));
  auto bad = run(words({"false"}));
  REQUIRE(bad); // an exit code is a result
  CHECK(bad->exit_code == 1);

  auto over = std::make_shared<std::promise<result<command_result>>>();
  watched<std::string> text;
  std::atomic<std::uint32_t> pid{0};
  std::atomic<int> end_count{0};
  stream_handlers h;
  h.on_start = [&](std::uint32_t p) { pid = p; };
  h.on_stdout = [&](std::string_view b) {
    text.change([&](auto& x) { x += b; });
    return true;
  };
  h.on_end = [&end_count, over](auto r) {
    if (++end_count == 1) over->set_value(std::move(r));
  };
  s.use->open_stream(at, words({"echo", "streamed"}), h);
  auto how = value_of(over->get_future());
  REQUIRE(how);
  CHECK(how->exit_code == 0);
  CHECK(text.get() == "streamed\n");
  CHECK(pid > 0);
  auto none = [&](auto call) { return await<void>(call).err().code; };
  CHECK(none([&](auto t) { s.use->send_signal(at, 99999999, signal::kill, t); })
        == errc::not_found);
  CHECK(none([&](auto t) { s.use->send_input(at, 99999999, "x", false, t); }) == errc::not_found);
  CHECK(end_count == 1);
}

void keeps_files(subject& s) {
  auto at = s.create();
  auto write = [&](const std::string& path, const std::string& content) {
    return await<void>([&](auto t) { s.use->write_file(at, path, content, {}, t); });
  };
  auto read = [&](const std::string& path, std::uint64_t offset, std::uint64_t length) {
    return await<file_piece>([&](auto t) { s.use->read_file(at, path, offset, length, {}, t); });
  };
  CHECK(write("/tmp/c/f", "0123456789"));
  CHECK(write("/tmp/c/f", "abcdef")); // replaces it whole
  auto whole = read("/tmp/c/f", 0, 0);
  REQUIRE(whole);
  CHECK((whole->data == "abcdef" && whole->size_bytes == 6));
  CHECK(read("/tmp/c/f", 2, 3)->data == "cde");
  auto beyond = read("/tmp/c/f", 6, 10);
  REQUIRE(beyond);
  CHECK((beyond->data.empty() && beyond->size_bytes == 6));
  CHECK(read("/tmp/c/none", 0, 1).err().code == errc::file_not_found);

  auto stat = [&](const std::string& path) {
    return await<entry>([&](auto t) { s.use->stat(at, path, {}, t); });
  };
  CHECK((stat("/tmp/c/f")->type == entry_type::file && stat("/tmp/c/f")->size_bytes == 6));
  auto make = [&](const std::string& path) {
    return await<void>([&](auto t) { s.use->make_dir(at, path, {}, t); });
  };
  CHECK(make("/tmp/c/d"));
  CHECK(make("/tmp/c/d").err().code == errc::exists);
  CHECK(stat("/tmp/c/d")->type == entry_type::directory);
  CHECK(await<void>([&](auto t) { s.use->move(at, "/tmp/c/f", "/tmp/c/g", {}, t); }));
  CHECK(stat("/tmp/c/f").err().code == errc::file_not_found);
  CHECK(await<void>([&](auto t) { s.use->move(at, "/tmp/c/none", "/tmp/c/x", {}, t); }).err().code
        == errc::file_not_found);
  auto listing =
      await<std::vector<entry>>([&](auto t) { s.use->list_dir(at, "/tmp/c", 1, {}, t); });
  REQUIRE(listing);
  std::set<std::string> names;
  for (const auto& x : *listing)
    names.insert(x.name);
  CHECK(names == std::set<std::string>{"d", "g"});
  auto remove = [&] { return await<void>([&](auto t) { s.use->remove(at, "/tmp/c", {}, t); }); };
  CHECK(remove());
  CHECK(remove()); // what is not there is removed
  CHECK(stat("/tmp/c/g").err().code == errc::file_not_found);
}

void ends(subject& s) {
  auto at = s.create();
  auto health = [&] { return await<void>([&](auto t) { s.use->health(at, t); }); };
  CHECK(health());
  CHECK(*s.kill(at.remote_id));
  CHECK_FALSE(*s.kill(at.remote_id));
  CHECK(s.get(at.remote_id).err().code == errc::not_found);
  CHECK(health().err().code == errc::gone);
  CHECK(await<command_result>([&](auto t) { s.use->run(at, words({"true"}), t); }).err().code
        == errc::gone);
  CHECK(await<file_piece>([&](auto t) { s.use->read_file(at, "/x", 0, 1, {}, t); }).err().code
        == errc::gone);
  auto over = std::make_shared<std::promise<result<command_result>>>();
  stream_handlers h;
  h.on_end = [over](auto r) { over->set_value(std::move(r)); };
  s.use->open_stream(at, words({"true"}), h);
  CHECK(value_of(over->get_future()).err().code == errc::gone);
}

} // namespace

TEST_CASE("the same contract holds for the real client and its stand-in") {
  std::string kind = GENERATE("stand-in", "simulated", "real");
  INFO(kind);
  subject s{kind};
  if (kind == "real" && !s.use && s.host->log().find("no_isolation") != std::string::npos)
    SKEP_SKIP("sandboxes cannot be isolated on this machine");
  REQUIRE(s.use);
  finds_and_leases(s);
  pauses_and_reconnects(s);
  runs_and_streams(s);
  keeps_files(s);
  ends(s);
}
